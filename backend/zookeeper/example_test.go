package zookeeper_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"log"
	"net"
	"time"

	"github.com/hustings-go/hustings/backend/zookeeper"
	"github.com/hustings-go/hustings/election"
)

// One Backend serves any number of elections with one session.
func Example() {
	b, err := zookeeper.New([]string{"10.0.0.1:2181", "10.0.0.2:2181", "10.0.0.3:2181"}, zookeeper.WithTTL(15*time.Second))
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

// TLS is a dialer.
func ExampleWithDialer() {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	b, err := zookeeper.New([]string{"zookeeper.example.com:2281"},
		zookeeper.WithDialer(func(network, address string, timeout time.Duration) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(context.Background(), timeout)
			defer cancel()
			return (&tls.Dialer{Config: config}).DialContext(ctx, network, address)
		}))
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
}

// A time to live that is too short for the servers' ticks is refused, with the numbers.
func ExampleWithTTL() {
	_, err := zookeeper.New([]string{"127.0.0.1:2181"}, zookeeper.WithTTL(5*time.Second))
	fmt.Println(err)
	// Output: zookeeper: the TTL is 5s; a TTL is whole milliseconds, at least 4 ticks of the server, 8s, and at most 24h0m0s
}
