package migrating_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/hustings-go/hustings/backend/memory"
	"github.com/hustings-go/hustings/election"
)

// A Candidate of docker/leadership, which leads for a while, resigns and stands again; and a Follower.
func Example_candidateAndFollower() {
	store, err := memory.New() // consul.New(client), etcd.New(client), zookeeper.New(servers)
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	candidate, err := election.New(store, "service/swarm/leader", "underwood", election.WithResignPause(time.Millisecond))
	if err != nil {
		log.Fatal(err)
	}
	terms := 0
	for ev := range candidate.Events(ctx) {
		switch ev.State {
		case election.StateLeader:
			for leader, err := range election.Observe[string](ctx, store, "service/swarm/leader") {
				if err == nil && !leader.Vacant() {
					fmt.Println("the follower sees", leader.Value, "with token", leader.Token)
					break
				}
			}
			if terms++; terms == 2 {
				return // leaving the loop resigns for good
			}
			candidate.Resign() // steps down, lets others go first, and stands again
		case election.StateResigned:
			fmt.Println("resigned:", errors.Is(ev.Err, election.ErrResigned))
		default:
		}
	}
	// Output:
	// the follower sees underwood with token 1
	// resigned: true
	// the follower sees underwood with token 2
}

// The three channels of heyvito/go-leader: promoted, demoted, errored.
func Example_promotedDemotedErrored() {
	store, err := memory.New() // rediskv.New(client)
	if err != nil {
		log.Fatal(err)
	}
	e, err := election.New(store, "io.vito.myServiceName", "this process")
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	for ev := range e.Events(ctx) {
		if ev.Previous == election.StateLeader {
			fmt.Println("demoted:", ev.Err)
		}
		switch ev.State {
		case election.StateLeader:
			fmt.Println("promoted")
			stop() // as at the end of main; the loop goes on to the last event
		case election.StateErrored:
			fmt.Println("errored:", ev.Err, "- next try in", ev.RetryIn)
		default:
		}
	}
	// Output:
	// promoted
	// demoted: context canceled
}

// role is what Flipkart/kingsmoot calls membership.
type role string

const (
	leader     role = "leader"
	follower   role = "follower"
	notAMember role = "not a member"
)

// node is told of its role, as a kingsmoot Candidate is by UpdateMembership.
type node struct{ role role }

func (n *node) update(to role, who string) {
	if n.role == to {
		return
	}
	n.role = to
	fmt.Println("now", to, "- leader:", who)
}

// Roles in the manner of Flipkart/kingsmoot: leader, follower, not a member while the store cannot be reached.
func Example_roles() {
	store, err := memory.New() // etcd.New(client)
	if err != nil {
		log.Fatal(err)
	}
	e, err := election.New(store, "akem", "http://node:1234")
	if err != nil {
		log.Fatal(err)
	}
	var n node
	for ev := range e.Events(context.Background()) {
		switch ev.State {
		case election.StateLeader:
			n.update(leader, ev.Leader.Value)
			store.Fail(1, nil)   // the store is in trouble,
			store.Depose("akem") // and has lost the key
		case election.StateCampaigning:
			if !ev.Leader.Vacant() && ev.Leader.Value != "http://node:1234" {
				n.update(follower, ev.Leader.Value)
			}
		case election.StateErrored, election.StateResigned:
			n.update(notAMember, ev.Leader.Value)
			return
		case election.StateIdle:
		}
	}
	// Output:
	// now leader - leader: http://node:1234
	// now not a member - leader:
}
