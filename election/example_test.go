package election_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hustings-go/hustings/backend/memory"
	"github.com/hustings-go/hustings/election"
)

type node struct{ Addr string }

func Example() {
	store, err := memory.New() // in production: etcd.New(client)
	if err != nil {
		log.Fatal(err)
	}
	e, err := election.New(store, "service/swarm/leader", node{Addr: "10.0.0.7:2377"})
	if err != nil {
		log.Fatal(err)
	}
	for ev := range e.Events(context.Background()) { // stands for election while the loop runs
		switch ev.State {
		case election.StateLeader:
			fmt.Println("leading with token", ev.Term.Token())
			return // leaving the loop resigns
		case election.StateErrored:
			fmt.Println("trouble, next try in", ev.RetryIn, ev.Err)
		default:
		}
	}
	// Output: leading with token 1
}

func ExampleElection_Run() {
	store, err := memory.New()
	if err != nil {
		log.Fatal(err)
	}
	e, err := election.New(store, "jobs/nightly", "worker-1")
	if err != nil {
		log.Fatal(err)
	}
	err = e.Run(context.Background(), func(ctx context.Context, term *election.Term) error {
		for range 3 {
			if !term.Valid() { // before every write; and the token goes with it
				return ctx.Err()
			}
			fmt.Println("a write guarded by token", term.Token())
		}
		return nil // the work is done: resign, and return
	})
	fmt.Println(err)
	// Output:
	// a write guarded by token 1
	// a write guarded by token 1
	// a write guarded by token 1
	// <nil>
}

func ExampleObserve() {
	store, err := memory.New()
	if err != nil {
		log.Fatal(err)
	}
	candidate, err := election.New(store, "service/leader", "a")
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	left := make(chan struct{})
	for leader, err := range election.Observe[string](ctx, store, "service/leader") {
		switch {
		case err != nil:
			log.Print(err)
		case leader.Vacant():
			fmt.Println("nobody leads")
			go func() {
				defer close(left)
				for range candidate.Events(ctx) {
				}
			}()
		default:
			fmt.Println(leader.Value, "leads")
			cancel()
		}
	}
	<-left
	// Output:
	// nobody leads
	// a leads
}

// A service that keeps count of what it does as a leader, and the test of what it does when it loses
// leadership: the store of the test deposes it, in virtual time.
type service struct {
	started, stopped int
	cause            error
}

func (s *service) run(ctx context.Context, e *election.Election[string]) error {
	return e.Run(ctx, func(ctx context.Context, _ *election.Term) error {
		s.started++
		<-ctx.Done()
		s.stopped++
		s.cause = context.Cause(ctx)
		return ctx.Err()
	})
}

func TestMyServiceStopsWhenItLosesLeadership(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, err := memory.New(memory.WithTTL(15 * time.Second))
		if err != nil {
			t.Fatal(err)
		}
		e, err := election.New(store, "service/leader", "me")
		if err != nil {
			t.Fatal(err)
		}
		var s service
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.run(ctx, e) }()

		time.Sleep(time.Hour) // of virtual time: the lease is renewed all along
		synctest.Wait()
		if s.started != 1 || s.stopped != 0 {
			t.Fatalf("after an hour: started %d, stopped %d", s.started, s.stopped)
		}

		store.Depose("service/leader") // an operator deletes the key
		synctest.Wait()
		if s.stopped != 1 || !errors.Is(s.cause, election.ErrLost) {
			t.Fatalf("after the loss: stopped %d, cause %v", s.stopped, s.cause)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if s.started != 2 {
			t.Fatalf("it did not lead again: started %d", s.started)
		}

		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	})
}
