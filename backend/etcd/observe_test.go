package etcd_test

import (
	"strings"
	"testing"
	"time"

	"github.com/hustings-go/hustings/backend/etcd"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

// Tokens of a store that went back in time, as one that was restored from a backup, are not told to who
// knows better.
func TestObserverOfAStoreThatWentBack(t *testing.T) {
	t.Parallel()
	now, before := servers.StartEtcd(t), servers.StartEtcd(t)
	operator := connect(t, []string{now.Endpoint()})
	for range 20 {
		if _, err := operator.Put(trial.Within(t), "unrelated", "x"); err != nil {
			t.Fatal(err)
		}
	}
	newer := trial.Win(t, open(t, operator, etcd.WithTTL(long)), "back", "newer")
	older := trial.Win(t, open(t, connect(t, []string{before.Endpoint()}), etcd.WithTTL(long)), "back", "older")
	if older.Token() >= newer.Token() {
		t.Fatalf("token %d of the older store, %d of the newer one", older.Token(), newer.Token())
	}
	client := connect(t, []string{now.Endpoint()})
	b := open(t, client, etcd.WithTTL(3*time.Second))
	for range 5 { // more than once only where the machine is slow
		client.SetEndpoints(now.Endpoint())
		var tokens []uint64
		for leader, err := range b.Observe(trial.Within(t), "back") {
			if err != nil {
				trial.MustPass(t, "Observe", err)
				if strings.Contains(err.Error(), "went back in time") {
					return
				}
				break
			}
			if tokens = append(tokens, leader.Token); len(tokens) > 1 && tokens[0] == newer.Token() {
				t.Fatalf("the tokens observed are %v", tokens)
			}
			client.SetEndpoints(before.Endpoint())
		}
	}
	t.Error("Observe did not tell that the store went back")
}
