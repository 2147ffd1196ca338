package memory_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/memory"
)

func Example() {
	ctx := context.Background()
	alice, err := memory.New(memory.WithTTL(10 * time.Second))
	if err != nil {
		fmt.Println(err)
		return
	}
	bob, err := alice.Peer()
	if err != nil {
		fmt.Println(err)
		return
	}

	first, err := alice.Campaign(ctx, "demo/leader", []byte("alice"))
	if err != nil {
		fmt.Println(err)
		return
	}
	for leader := range bob.Observe(ctx, "demo/leader") {
		fmt.Printf("%s leads with token %d\n", leader.Value, leader.Token)
		break
	}
	fmt.Println("resigned:", first.Resign(ctx))

	second, err := bob.Campaign(ctx, "demo/leader", []byte("bob"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("bob's token:", second.Token())
	// Output:
	// alice leads with token 1
	// resigned: <nil>
	// bob's token: 2
}

// An operator removes the leader's record: the leader is told.
func ExampleBackend_Depose() {
	ctx := context.Background()
	b, err := memory.New()
	if err != nil {
		fmt.Println(err)
		return
	}
	lease, err := b.Campaign(ctx, "demo", []byte("alice"))
	if err != nil {
		fmt.Println(err)
		return
	}
	b.Depose("demo")
	fmt.Println(errors.Is(lease.Wait(ctx), backend.ErrLost))
	// Output: true
}

// The session's network is gone: a call hangs until its context ends, and goes on after Heal.
func ExampleBackend_Cut() {
	ctx := context.Background()
	b, err := memory.New()
	if err != nil {
		fmt.Println(err)
		return
	}
	lease, err := b.Campaign(ctx, "demo", []byte("alice"))
	if err != nil {
		fmt.Println(err)
		return
	}
	b.Cut()
	soon, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	_, err = lease.Renew(soon)
	fmt.Println(err)
	b.Heal()
	_, err = lease.Renew(ctx)
	fmt.Println(err)
	// Output:
	// memory: renew "demo": context deadline exceeded
	// <nil>
}
