"""The GraphQL texts that are sent to Dagster's webserver.

Belongs here: queries and mutations. Does not: reading their answers (readiness, launch, assets, runs …).
The schema is semi-stable, so the Dagster version is pinned, and tests send every text to a real webserver.
"""

RECENT_RUNS = """
query RecentRuns($limit: Int!) {
  runsOrError(limit: $limit) {
    __typename
    ... on PythonError { message }
    ... on Runs { results { runId jobName status creationTime startTime endTime } }
  }
}
"""

READY = """
query Ready($job: String!) {
  instance {
    runLauncher { name }
    daemonHealth { allDaemonStatuses { daemonType required healthy } }
  }
  workspaceOrError {
    __typename
    ... on PythonError { message }
    ... on Workspace {
      locationEntries {
        name
        locationOrLoadError {
          __typename
          ... on PythonError { message }
          ... on RepositoryLocation { repositories { name jobs { name tags { key value } } } }
        }
      }
    }
  }
  runsOrError(filter: {pipelineName: $job, statuses: [QUEUED, NOT_STARTED, STARTING, STARTED, CANCELING]}) {
    ... on Runs { results { runId status tags { key value } } }
  }
}
"""

ASSETS = """
query Assets($job: PipelineSelector!) {
  assetNodes(pipeline: $job) {
    assetKey { path }
    dependencyKeys { path }
    assetMaterializations(limit: 1) { timestamp }
  }
}
"""

LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}
"""

TERMINATE = """
mutation Terminate($run: String!) {
  terminateRun(runId: $run, terminatePolicy: MARK_AS_CANCELED_IMMEDIATELY) {
    __typename
    ... on TerminateRunFailure { message }
    ... on PythonError { message }
  }
}
"""

EVENTS = """
query Events($run: ID!, $cursor: String) {
  runOrError(runId: $run) { ... on Run { status startTime endTime } }
  logsForRun(runId: $run, afterCursor: $cursor, limit: 1000) {
    __typename
    ... on PythonError { message }
    ... on EventConnection {
      cursor
      hasMore
      events {
        __typename
        ... on MessageEvent { timestamp stepKey message }
        ... on MaterializationEvent {
          assetKey { path }
          metadataEntries {
            label
            ... on IntMetadataEntry { intValue }
            ... on FloatMetadataEntry { floatValue }
            ... on TextMetadataEntry { text }
          }
        }
        ... on AssetCheckEvaluationEvent {
          evaluation { checkName success severity description assetKey { path } }
        }
        ... on ExecutionStepFailureEvent {
          error { message className cause { message } }
          failureMetadata { description }
        }
        ... on ExecutionStepUpForRetryEvent { error { message className cause { message } } }
        ... on RunFailureEvent { error { message } }
      }
    }
  }
}
"""

VERSIONS = """
query Versions($keys: [AssetKeyInput!]!) {
  assetNodes(assetKeys: $keys) {
    assetKey { path }
    assetMaterializations(limit: 1) { metadataEntries { label ... on IntMetadataEntry { intValue } } }
  }
}
"""

RUN = """
query Run($run: ID!) { runOrError(runId: $run) { ... on Run { runId status } } }
"""

RUNS_TAGGED = """
query Tagged($tags: [ExecutionTag!]!) {
  runsOrError(filter: {tags: $tags}, limit: 1) { ... on Runs { results { runId status } } }
}
"""
