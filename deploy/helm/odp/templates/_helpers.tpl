{{/* At most 44 characters, which leaves room for what each object adds; two long names that begin alike stay two. */}}
{{- define "odp.fullname" -}}
{{- $name := .Values.fullnameOverride -}}
{{- if not $name -}}
{{- $chart := default .Chart.Name .Values.nameOverride -}}
{{- $name = ternary .Release.Name (printf "%s-%s" .Release.Name $chart) (contains $chart .Release.Name) -}}
{{- end -}}
{{- if not (regexMatch "^[a-z][a-z0-9-]*$" $name) -}}
{{- fail (printf "%s cannot begin the names of Services, which begin with a letter and have no dot: give another release name, or fullnameOverride" $name) -}}
{{- end -}}
{{- if gt (len $name) 44 -}}
{{- printf "%s-%s" ($name | trunc 35 | trimSuffix "-") ($name | sha256sum | trunc 8) -}}
{{- else -}}
{{- $name -}}
{{- end -}}
{{- end -}}

{{- define "odp.selector" -}}
app.kubernetes.io/name: odp
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "odp.labels" -}}
{{ include "odp.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{/* (dict "root" $ "name" "api") */}}
{{- define "odp.image" -}}
{{- $images := .root.Values.images -}}
{{- $registry := required "images.registry is not set: where the cluster pulls the images from, such as registry.example.org/data" $images.registry -}}
{{- $tag := required "images.tag is not set: the tag that this build was pushed with" $images.tag -}}
{{- if eq $tag "latest" -}}
{{- fail "images.tag=latest moves: pods of one release would run different builds. Give each build a tag of its own" -}}
{{- end -}}
{{- printf "%s/%s:%s" (trimSuffix "/" $registry) (get $images .name) $tag -}}
{{- end -}}

{{/* (dict "root" $ "name" "api") */}}
{{- define "odp.secret" -}}
{{- required (printf "secrets.%s is not set: the name of a Secret that exists, with the keys that values.yaml tells" .name) (get .root.Values.secrets .name) -}}
{{- end -}}

{{- define "odp.s3" -}}
S3_REGION: {{ required "lake.s3.region is not set: the region of the buckets" .Values.lake.s3.region | quote }}
S3_BUCKET_PREFIX: {{ include "odp.prefix" . | quote }}
{{- with .Values.lake.s3.endpoint }}
S3_ENDPOINT: {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "odp.prefix" -}}
{{- $s3 := .Values.lake.s3 -}}
{{- if and (not $s3.endpoint) (not $s3.bucketPrefix) -}}
{{- fail "lake.s3.bucketPrefix is not set: on AWS the names of buckets are everybody's, so `gold` is not yours" -}}
{{- end -}}
{{- $s3.bucketPrefix -}}
{{- end -}}

{{- define "odp.postgresHost" -}}
{{- required "lake.postgres.host is not set: the host of your Postgres" .Values.lake.postgres.host -}}
{{- end -}}

{{- define "odp.tls" -}}
{{- $postgres := .Values.lake.postgres -}}
{{- if and (hasPrefix "verify" $postgres.sslMode) (not $postgres.caConfigMap) -}}
{{- fail (printf "lake.postgres.caConfigMap is not set: sslMode %s asks for the certificate that vouches for the server, as ca.crt in a ConfigMap" $postgres.sslMode) -}}
{{- end -}}
PGSSLMODE: {{ $postgres.sslMode }}
{{- if $postgres.caConfigMap }}
PGSSLROOTCERT: /run/odp/postgres/ca.crt
{{- end }}
{{- end -}}

{{- define "odp.catalog" -}}
LAKE_FORMAT: {{ .Values.lake.format }}
{{- if eq .Values.lake.format "ducklake" }}
DUCKLAKE_PG_HOST: {{ include "odp.postgresHost" . | quote }}
DUCKLAKE_PG_PORT: {{ .Values.lake.postgres.port | quote }}
DUCKLAKE_PG_PASSWORD_FILE: /run/secrets/ducklake_pg_password
{{ include "odp.tls" . }}
{{- end }}
{{- end -}}

{{- define "odp.sparkRemote" -}}
{{- if .Values.lake.sparkRemote -}}
{{- .Values.lake.sparkRemote -}}
{{- else if .Values.spark.enabled -}}
sc://{{ include "odp.fullname" . }}-spark.{{ .Release.Namespace }}.svc:50051
{{- else if eq .Values.lake.engine "spark" -}}
{{- fail "lake.engine=spark has no server: give spark.enabled=true, or lake.sparkRemote" -}}
{{- end -}}
{{- end -}}

{{/* Of a map of names and values, the `env` of a container. A number of values.yaml would be written 1e+06. */}}
{{- define "odp.env" -}}
{{- range $name, $value := . }}
- name: {{ $name }}
  value: {{ ternary ($value | int64 | toString) ($value | toString) (kindIs "float64" $value) | quote }}
{{- end }}
{{- end -}}

{{/* (dict "root" $ "name" "api" "keys" (list …)): those keys of a Secret as files, and no others. */}}
{{- define "odp.secretVolume" -}}
- name: secrets
  secret:
    secretName: {{ include "odp.secret" . }}
    defaultMode: 0440
    items:
    {{- range .keys }}
      - {key: {{ . }}, path: {{ . }}}
    {{- end }}
{{- end -}}

{{- define "odp.caVolume" -}}
{{- with .Values.lake.postgres.caConfigMap }}
- name: postgres-ca
  configMap: {name: {{ . }}}
{{- end }}
{{- end -}}

{{- define "odp.caMount" -}}
{{- if .Values.lake.postgres.caConfigMap }}
- {name: postgres-ca, mountPath: /run/odp/postgres, readOnly: true}
{{- end }}
{{- end -}}

{{/* What every pod has. (dict "root" $ "component" "api") */}}
{{- define "odp.pod" -}}
serviceAccountName: {{ include "odp.fullname" .root }}-{{ .component }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .root.Values.images.pullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "odp.hardened" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end -}}

{{- define "odp.placement" -}}
{{- range $key := list "nodeSelector" "tolerations" "affinity" }}
{{- with get $ $key }}
{{ $key }}: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "odp.s3Port" -}}
{{- $url := urlParse (default "https://aws" .Values.lake.s3.endpoint) -}}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" -}}
{{- default (ternary "80" "443" (eq $url.scheme "http")) $port -}}
{{- end -}}

{{/* The way out to names, the object store and Postgres; never to the node's own metadata. */}}
{{- define "odp.egress" -}}
# Wherever names are resolved: some clusters do it at an address of the node itself.
- ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
- to:
  {{- range .Values.networkPolicy.egressCidrs }}
    - ipBlock:
        cidr: {{ . }}
        {{- if eq . "0.0.0.0/0" }}
        except: [169.254.0.0/16]
        {{- end }}
  {{- end }}
  ports: [{port: {{ include "odp.s3Port" . }}, protocol: TCP}, {port: {{ .Values.lake.postgres.port }}, protocol: TCP}]
{{- end -}}
