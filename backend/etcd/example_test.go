package etcd_test

import (
	"context"
	"fmt"
	"log"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hustings-go/hustings/backend/etcd"
	"github.com/hustings-go/hustings/election"
)

// One Backend serves any number of elections with one lease. It is closed before the client is.
func Example() {
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            []string{"10.0.0.1:2379", "10.0.0.2:2379", "10.0.0.3:2379"},
		DialTimeout:          5 * time.Second,
		DialKeepAliveTime:    10 * time.Second, // notices a connection that went dead without a word
		DialKeepAliveTimeout: 5 * time.Second,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	b, err := etcd.New(client, etcd.WithTTL(15*time.Second))
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

// A time to live that etcd cannot keep is refused, with the number and what is allowed.
func ExampleWithTTL() {
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{"127.0.0.1:2379"}})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	_, err = etcd.New(client, etcd.WithTTL(1500*time.Millisecond))
	fmt.Println(err)
	// Output: etcd: the TTL is 1.5s, and etcd counts whole seconds; a TTL is a whole number of seconds, from 1s to 24h
}
