package rediskv

// AcquireSource lets tests send an acquire once more, as a client or a network may do.
const AcquireSource = acquireSource
