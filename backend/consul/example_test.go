package consul_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/hustings-go/hustings/backend/consul"
	"github.com/hustings-go/hustings/election"
)

// One Backend serves any number of elections with one session. The client takes its address, token and TLS
// settings from the environment, as the consul command does.
func Example() {
	client, err := api.NewClient(api.DefaultConfig())
	if err != nil {
		log.Fatal(err)
	}
	b, err := consul.New(client, consul.WithTTL(15*time.Second), consul.WithName("node-7"))
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

// A time to live that Consul cannot keep is refused, with the number and what is allowed.
func ExampleWithTTL() {
	client, err := api.NewClient(api.DefaultConfig())
	if err != nil {
		log.Fatal(err)
	}
	_, err = consul.New(client, consul.WithTTL(5*time.Second))
	fmt.Println(err)
	// Output: consul: the TTL is 5s, which is too short; Consul takes TTLs from 10s to 24h
}
