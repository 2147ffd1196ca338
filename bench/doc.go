// Package bench does the same work with this library and with what people use today, side by side: in one
// process, in one run, against the same real servers, by turns, so that a machine that drifts drifts for both.
//
//	make compare                                  # all measures, a table in Markdown; half an hour
//	make compare MEASURE=handover,rest STORE=etcd # some
//	make compare QUICK=1                          # that it runs, which is part of make test too
//
// The peers are package concurrency of etcd's client, api.Lock of Consul's, zk.Lock of go-zookeeper's, package
// leaderelection of client-go with its Lease lock on a real kube-apiserver, and, for Redis, where there is none in the
// client, the recipe of Redis's documentation (SET NX PX, tried again at an interval), written here. There is no backend
// for Kubernetes yet: client-go is compared with our etcd backend, another store for the same need. Each peer is used
// as its documentation shows, with its defaults where a measure does not say otherwise.
//
// All of it is tests, because internal/servers is for tests. What was measured is in docs/performance.md.
package bench
