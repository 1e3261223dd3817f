// Package integration sees the broker as its users do: the built binary as a process, driven through the Kafka port, the
// HTTP port and the command line by clients that this project did not write. It has no non-test code.
//
// setup.sh installs the clients. CHRONIK_BIN names a binary to test in place of a fresh build; reference.sh makes Apache
// Kafka such a binary, which tells a fault of the broker from a fault of the suite. CHRONIK_TEST_BROKER=host:port lets
// TestClients use a broker that already runs.
package integration
