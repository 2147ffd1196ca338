package rediskv

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// Each write is one script, so that it is atomic, and each is on the condition that the record is the
// candidacy's own. All of them may be repeated, by a client that hides it or by a network that
// delivers late: acquire answers again with the same token, the others find their work done.
//
// Numbers that count stay strings: Lua's own are floating point, and exact only up to 2^53.

// acquireSource takes the key if it is free. A record of this same holder with a lower candidacy number is
// free as well: that candidacy was given up, and this is where its leftover is cleared away. One with a higher
// number means that this request is late. A counter below what the holder has seen before means that the
// store lost writes; then nothing is taken, unless ARGV[6] says that the loss was waited out: then the
// counter is raised above what was seen.
//
// PEXPIRE comes before HSET as well, where it has no effect, so that a user without the right to
// it cannot leave a record that never expires. The counter comes first of all, because Redis refuses a
// script that finds the memory full only at its first write.
const acquireSource = `
local held = redis.call('HMGET', KEYS[1], 'holder', 'candidacy', 'token', 'ttl')
if held[1] then
  local mine = held[1] == ARGV[1]
  if mine and held[2] == ARGV[2] then
    redis.call('PEXPIRE', KEYS[1], ARGV[3])
    return {'won', held[3]}
  end
  if not mine or (tonumber(held[2]) or 0) > tonumber(ARGV[2]) then
    return {'held', held[3], held[4], held[1], redis.call('PTTL', KEYS[1])}
  end
elseif redis.call('EXISTS', KEYS[1]) == 1 then
  return redis.error_reply('FOREIGN a hash without a holder')
end
local fence = redis.call('GET', KEYS[2]) or '0'
if not string.match(fence, '^%d+$') then
  return redis.error_reply('FOREIGN a counter that is no number')
end
local behind = #fence < #ARGV[4] or (#fence == #ARGV[4] and fence < ARGV[4])
if behind and ARGV[6] ~= '1' then
  return {'behind', fence}
end
if behind then
  redis.call('SET', KEYS[2], ARGV[5])
else
  redis.call('INCR', KEYS[2])
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
local token = redis.call('GET', KEYS[2])
redis.call('PUBLISH', ARGV[8], 'won ' .. token .. ' ' .. ARGV[3])
redis.call('HSET', KEYS[1], 'holder', ARGV[1], 'candidacy', ARGV[2], 'token', token, 'ttl', ARGV[3], 'value', ARGV[7])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {'won', token}
`

// renewSource extends the leases of terms, one for each key, and proves their records by the same step. It tells who
// waits or observes how much each lease had left, so that they need not look. That nobody may be told is no reason not
// to renew.
const renewSource = `
local answers = {}
for i, key in ipairs(KEYS) do
  local held = redis.call('HMGET', key, 'holder', 'candidacy', 'token')
  if held[1] == ARGV[1] and held[2] == ARGV[2 * i + 1] and held[3] == ARGV[2 * i + 2] then
    local left = redis.call('PTTL', key)
    answers[i] = redis.call('PEXPIRE', key, ARGV[2])
    local told = 'won ' .. held[3] .. ' ' .. ARGV[2] .. ' ' .. left .. ' ' .. string.match(held[1], '[^/]*$')
    redis.pcall('PUBLISH', string.sub(key, 1, -6) .. 'events', told)
  else
    answers[i] = 0
  end
end
return answers
`

// proclaimSource announces another value in a term.
const proclaimSource = `
local held = redis.call('HMGET', KEYS[1], 'holder', 'candidacy', 'token')
if held[1] ~= ARGV[1] or held[2] ~= ARGV[2] or held[3] ~= ARGV[3] then
  return 0
end
redis.call('HSET', KEYS[1], 'value', ARGV[4])
redis.call('PUBLISH', ARGV[5], 'value ' .. ARGV[3])
return 1
`

// releaseSource removes the record of a candidacy and of no other, and tells those who wait how many
// they are. The candidacy is enough to know it by, as it has one term at most, whose token may not be known
// to a caller whose acquire was never answered.
const releaseSource = `
local held = redis.call('HMGET', KEYS[1], 'holder', 'candidacy')
if held[1] ~= ARGV[1] or held[2] ~= ARGV[2] then
  return 0
end
local crowd = redis.call('PUBSUB', 'NUMSUB', ARGV[3])
redis.call('DEL', KEYS[1])
redis.call('PUBLISH', ARGV[3], 'released ' .. crowd[2])
return 1
`

// scripts are run by their hash, and in full where the server does not know that yet: after a restart, a
// failover, or a SCRIPT FLUSH.
type scripts struct {
	acquire, renew, proclaim, release *redis.Script
}

func newScripts() scripts {
	return scripts{
		acquire:  redis.NewScript(acquireSource),
		renew:    redis.NewScript(renewSource),
		proclaim: redis.NewScript(proclaimSource),
		release:  redis.NewScript(releaseSource),
	}
}

// evaluate runs a script on keys: by its hash, or in full.
func evaluate(ctx context.Context, c redis.Scripter, s *redis.Script, full bool, keys []string, args ...any) *redis.Cmd {
	if full {
		return s.Eval(ctx, c, keys, args...)
	}
	return s.EvalSha(ctx, c, keys, args...)
}

// exec makes n requests in one round trip. Each answer has its own error.
func (b *Backend) exec(ctx context.Context, n int, request func(c redis.Scripter, i int) *redis.Cmd) []*redis.Cmd {
	switch n {
	case 0:
		return nil
	case 1: // the client has other connections for pipelines, with large buffers
		return []*redis.Cmd{request(b.client, 0)}
	}
	var answers []*redis.Cmd
	pipe := b.client.Pipeline()
	for i := range n {
		answers = append(answers, request(pipe, i))
	}
	_, _ = pipe.Exec(ctx)
	return answers
}

// keys are what scripts may touch.
func keys(key string) []string { return []string{leaseKey(key), fenceKey(key)} }
