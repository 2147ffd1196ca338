package election

import "github.com/hustings-go/hustings/backend"

// The machine imports nothing of ours; these are the few words that it shares with the stores.
type (
	instant = backend.Instant
	grant   = backend.Grant
	leader  = backend.Leader
)
