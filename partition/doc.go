// Package partition keeps one replica of one topic partition and everyone who waits for it: its role,
// leader epoch and high watermark over a log from partition/log. Three offsets order everything here:
//
//	start <= hw <= end
//
// start rises with retention, hw with what the in-sync replicas made durable, end with appends. Only a
// change of leader may lower end, and never below hw unless an unclean election was asked for.
//
// A replica knows neither Raft nor the wire. What it is to become is told to it by Lead and Resign; an
// acknowledged append is one that hw has passed while this broker still led in the same epoch.
package partition
