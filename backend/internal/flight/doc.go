// Package flight has what the elections of one session share: requests that one sends and others wait for,
// and the rhythm in which those who wait keep the session alive.
package flight
