package rediskv_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/hustings-go/hustings/backend/rediskv"
	"github.com/hustings-go/hustings/election"
)

// One Backend serves any number of elections. It is closed before the client is.
func Example() {
	client := redis.NewClient(rediskv.Options(&redis.Options{
		Addr:     "10.0.0.1:6379",
		Username: "candidate",
		Password: "from your secret store",
	}))
	defer client.Close()
	b, err := rediskv.New(client, rediskv.WithTTL(15*time.Second), rediskv.WithName("node-7"))
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()

	e, err := election.New(b, "service/swarm/leader", "10.0.0.7:2377")
	if err != nil {
		log.Fatal(err)
	}
	err = e.Run(context.Background(), func(ctx context.Context, term *election.Term) error {
		fmt.Println("leading with token", term.Token())
		<-ctx.Done()
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
}

// Under Sentinel, mind what the package says about failover.
func ExampleFailoverOptions() {
	client := redis.NewFailoverClient(rediskv.FailoverOptions(&redis.FailoverOptions{
		MasterName:    "primary",
		SentinelAddrs: []string{"10.0.0.1:26379", "10.0.0.2:26379", "10.0.0.3:26379"},
	}))
	defer client.Close()
	b, err := rediskv.New(client)
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	fmt.Println(b.TTL())
	// Output: 15s
}

// A client that repeats writes behind the caller's back, as it does unless told otherwise, is refused.
func ExampleNew() {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:6379", ContextTimeoutEnabled: true})
	defer client.Close()
	_, err := rediskv.New(client)
	fmt.Println(err)
	// Output: rediskv: the client's MaxRetries is 3, so that it would repeat writes whose fate is not known, where -1 is needed; rediskv.Options, FailoverOptions, ClusterOptions and UniversalOptions set what is needed
}

// A time to live that cannot be kept is refused, with the number and what is allowed.
func ExampleWithTTL() {
	client := redis.NewClient(rediskv.Options(&redis.Options{Addr: "127.0.0.1:6379"}))
	defer client.Close()
	_, err := rediskv.New(client, rediskv.WithTTL(50*time.Millisecond))
	fmt.Println(err)
	// Output: rediskv: the TTL is 50ms, which is too short; a TTL is a whole number of milliseconds, from 100ms to 24h
}
