// Command silo gives a MinIO server the command line of the silo image: `silo healthcheck MODE` probes the server in
// this container and ends with 0 or 1; every other command line is handed to the minio binary unchanged.
//
// It is a program of its own because a probe runs every few seconds: starting the 111 MB server binary only to send
// one HTTP request would cost more CPU than the idle server does.
package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

const (
	// Not in PATH and not /usr/bin/minio: silo's image has no binary of that name, so nothing may lean on one here.
	server  = "/usr/libexec/minio"
	address = "127.0.0.1:9000"
)

// Deadlines are silo's own: below the Docker timeout, so that a hung server is reported by us and not by a killed probe.
var modes = map[string]struct {
	path     string
	deadline time.Duration
}{
	"live":         {"/minio/health/live", 5 * time.Second},
	"ready":        {"/minio/health/ready", 5 * time.Second},
	"cluster":      {"/minio/health/cluster", 15 * time.Second},
	"cluster-read": {"/minio/health/cluster/read", 15 * time.Second},
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "healthcheck" {
		if err := healthcheck(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "silo healthcheck:", err)
			os.Exit(1)
		}
		return
	}
	// The server is not to ask the outside for updates: silo's build never does.
	environment := append(os.Environ(), "MINIO_UPDATE=off")
	err := syscall.Exec(server, append([]string{"silo"}, os.Args[1:]...), environment)
	fmt.Fprintln(os.Stderr, "silo: cannot start", server+":", err)
	os.Exit(1)
}

// healthcheck asks the server once and returns nil for the answer 200 alone.
func healthcheck(args []string) error {
	name := "ready"
	if len(args) > 0 {
		name = args[0]
	}
	mode, known := modes[name]
	if !known || len(args) > 1 {
		return fmt.Errorf("want one of live, ready, cluster, cluster-read, not %q", strings.Join(args, " "))
	}
	until := time.Now().Add(mode.deadline)
	connection, err := (&net.Dialer{Deadline: until}).Dial("tcp", address)
	if err != nil {
		return err
	}
	defer connection.Close()
	if err := connection.SetDeadline(until); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(connection, "GET %s HTTP/1.0\r\nHost: %s\r\n\r\n", mode.path, address); err != nil {
		return err
	}
	status, err := bufio.NewReader(connection).ReadString('\n')
	if err != nil {
		return err
	}
	if fields := strings.Fields(status); len(fields) < 2 || fields[1] != "200" {
		return fmt.Errorf("%s answered %q", mode.path, strings.TrimSpace(status))
	}
	return nil
}
