// Package flight has what the elections of one session share: a request that one sends and others wait for
// (Slot), questions of many that go out together (Rounds), and the rhythm in which those who wait keep the session
// alive (Pulse).
package flight
