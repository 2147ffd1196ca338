package file_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/hustings-go/hustings/backend/file"
	"github.com/hustings-go/hustings/election"
)

// A job that runs in one process of the machine, whichever it is.
func Example() {
	dir, err := os.MkdirTemp("", "elections") // a service takes a folder that stays: /var/lib/service/elections
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	b, err := file.New(dir, file.WithName("example"))
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()

	e, err := election.New(b, "reports/nightly", "me")
	if err != nil {
		log.Fatal(err)
	}
	err = e.Run(context.Background(), func(_ context.Context, term *election.Term) error {
		fmt.Println("leading:", term.Valid())
		return nil // the work is done
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: leading: true
}

// A time to live that makes no sense is refused, with the number and what is allowed.
func ExampleWithTTL() {
	_, err := file.New(os.TempDir(), file.WithTTL(50*time.Millisecond))
	fmt.Println(err)
	// Output: file: the TTL is 50ms, must be from 1s to 24h0m0s
}
