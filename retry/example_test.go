package retry_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/hustings-go/hustings/retry"
)

func ExamplePolicy() {
	policy := retry.Policy{Initial: 100 * time.Millisecond, Max: time.Second, Limit: 5}
	// Half of the bound each time, so that the output is always the same. Start draws at random.
	pauses := policy.StartWith(func() float64 { return 0.5 })
	for {
		pause := pauses.NextBackOff()
		if pause == retry.Stop {
			fmt.Println("giving up")
			return
		}
		fmt.Println(pause)
	}
	// Output:
	// 50ms
	// 100ms
	// 200ms
	// 400ms
	// 500ms
	// giving up
}

// A Backoff serves wherever github.com/cenkalti/backoff is in use.
func ExamplePolicy_Start() {
	tries := 0
	err := backoff.Retry(func() error {
		if tries++; tries < 3 {
			return errors.New("connection refused")
		}
		return nil
	}, retry.Policy{Max: time.Millisecond}.Start())
	fmt.Println(tries, err)
	// Output: 3 <nil>
}

func ExamplePermanent() {
	tries := 0
	err := backoff.Retry(func() error {
		tries++
		return fmt.Errorf("login: %w", retry.Permanent(errors.New("wrong password")))
	}, retry.Policy{}.Start())
	fmt.Println(tries, err)
	// Output: 1 wrong password
}

func ExampleIsPermanent() {
	err := fmt.Errorf("login: %w", retry.Permanent(errors.New("wrong password")))
	fmt.Println(err, retry.IsPermanent(err))
	fmt.Println(retry.IsPermanent(errors.New("connection refused")))
	// Output:
	// login: wrong password true
	// false
}

func ExamplePolicy_Validate() {
	fmt.Println(retry.Policy{Initial: time.Minute, Max: time.Second}.Validate())
	// Output: retry: initial pause 1m0s is longer than the longest pause 1s
}
