// Command bench measures a broker as a process, from outside, over loopback: what it takes in and gives
// out per second, what that costs it in CPU and memory, and how long one waits. `make bench` builds the
// binary and runs it; --help lists the flags.
//
// A figure is printed only if its run was verified: no error code, every base offset acknowledged once
// and densely, end offsets equal to what was acknowledged, sampled batches intact and the ones that
// were sent. A run that is not says why instead.
//
// Each experiment has a broker and a data directory of its own. The first figure is the broker's CPU
// per million messages: it depends least on what else the machine does. How busy others kept it is
// printed too, and rows with more than a tenth of the machine gone are marked. For a comparison use
// ratios within one run; a figure by itself is about this machine and this hour.
//
//	P1  produce flat out, 16 KiB batches, 4 connections with 5 requests in flight, 12 partitions
//	P2  the same with one record per request
//	P3  the same with compressed batches of 1 MiB
//	C1  catch up: read a topic from its start to its end, warm
//	L1  end to end at a rate: from when a message should have been sent to when it was read
//	R1  start: empty, and after kill -9
//	N1  connections that do nothing
package main
