// Package load drives a Kafka broker over raw connections, cheaply enough that on a small machine the
// broker and not the driver is what gets measured: no client library, no allocation per request.
//
// What it sends is encoded once. A Produce request is one writev of a small header, patched in place,
// and a batch; of its response only the fields at fixed positions are looked at. A consumer walks the
// headers of the batches that come back and steps over the records. Three things always hold:
//
//   - A connection has one writer and one reader, and at most InFlight requests between them.
//   - Every response is checked: correlation id, partition, error code. Every base offset is entered in
//     a Ledger, which can tell afterwards whether the offsets were dense. The first fault ends the run.
//   - In open-loop mode a request's clock starts when it should have been sent. A broker that stalls
//     cannot make the driver skip the requests that would have suffered from it (coordinated omission).
package load
