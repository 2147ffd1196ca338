package calls

import "context"

// Unanswered says of whom no answer came within the Backend's own bound of a request. It is a deadline that was exceeded.
type Unanswered string

func (e Unanswered) Error() string { return string(e) }

// Is reports whether target is [context.DeadlineExceeded].
func (Unanswered) Is(target error) bool { return target == context.DeadlineExceeded }
