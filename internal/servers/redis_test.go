//go:build unix

package servers_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/hustings-go/hustings/internal/servers"
)

func TestRedisKeepsItsDataWhenKilled(t *testing.T) {
	redis := servers.StartRedis(t)
	redis.Cli("set", "color", "red")
	redis.Kill()
	redis.Start()
	redis.WaitReady()
	if got := redis.Cli("get", "color"); got != "red" {
		t.Errorf("after a kill the value is %q", got)
	}
}

func TestRedisInMemoryForgets(t *testing.T) {
	redis := servers.StartRedis(t, servers.RedisInMemory())
	redis.Cli("set", "color", "red")
	redis.Restart()
	if got := redis.Cli("get", "color"); got != "" {
		t.Errorf("after a restart the value is %q", got)
	}
}

func TestRedisWithAPassword(t *testing.T) {
	redis := servers.StartRedis(t, servers.RedisPassword("s3cret"))
	redis.Cli("set", "color", "red")
	redis.Restart() // it can tell that it serves
}

func TestRedisClusterServesAllSlots(t *testing.T) {
	redis := servers.StartRedisCluster(t)
	for _, key := range []string{"a", "b", "{c}:d"} {
		redis.Cli("set", key, "x")
	}
}

func TestRedisSentinelFailsOverAndLosesWhatWasNotReplicated(t *testing.T) {
	s := servers.StartRedisSentinel(t)
	primary := s.Primary()
	primary.Cli("set", "kept", "x")
	s.AwaitReplicated()
	s.CutReplication()
	primary.Cli("set", "lost", "x")
	primary.Kill()
	s.AwaitFailover(primary)
	after := s.Primary()
	if after == primary {
		t.Fatal("the dead server is the primary")
	}
	if got := after.Cli("mget", "kept", "lost"); strings.ReplaceAll(got, "\n", ",") != "x," {
		t.Errorf("after the failover the values are %q", got)
	}
}

func TestRedisUnderSentinelComesBackAsWhatItWas(t *testing.T) {
	s := servers.StartRedisSentinel(t)
	first := s.Primary()
	first.Kill()
	s.AwaitFailover(first)
	second := s.Primary()
	second.Cli("set", "color", "red")
	second.Kill()
	second.Start() // before the sentinels find it missing
	second.WaitReady()
	if role := second.Cli("role"); !strings.HasPrefix(role, "master") {
		t.Errorf("the primary came back as %q", role)
	}
	first.Start()
	first.WaitReady()
	servers.Await(t, "the first primary to follow the second", func(context.Context) error {
		got, err := first.TryCli("get", "color")
		if err == nil && got != "red" {
			err = fmt.Errorf("it has %q", got)
		}
		return err
	})
}
