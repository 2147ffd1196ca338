package backendtest

import (
	"context"
	"fmt"
	"strings"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/retry"
)

func values(k *kit) {
	var all [256]byte
	for i := range all {
		all[i] = byte(i)
	}
	b := k.open()
	o := k.observe(k.open(), k.key)
	for _, value := range []string{
		"", "plain", "two\nlines\r\n", "\x00", "a\x00b\x00", "\xff\xfe invalid UTF-8 \xc3", " spaces ", `{"json": "yes"}`, string(all[:]),
	} {
		l := k.win(b, k.key, value)
		o.untilTerm(l, value)
		k.proclaim(l, "between")
		o.untilTerm(l, "between")
		k.proclaim(l, value)
		o.untilTerm(l, value)
		k.resign(l)
		o.untilVacant()
	}
	l := begin(k, "Campaign", func(ctx context.Context) (backend.Lease, error) { return b.Campaign(ctx, k.key, nil) }).must()
	o.untilTerm(l, "")
	k.must("Proclaim of nil", func(ctx context.Context) error { return l.Proclaim(ctx, nil) })
	k.resign(l)
}

func longest(k *kit) {
	b := k.open()
	fits := strings.Repeat("v", k.h.MaxValue)
	l := k.win(b, k.key, fits)
	k.wantLeader(b, k.key, l, fits)
	k.proclaim(l, "short")
	k.proclaim(l, fits)
	k.wantLeader(b, k.key, l, fits)

	refused := func(what string, err error) {
		k.Helper()
		switch {
		case !retry.IsPermanent(err):
			k.Errorf("%s of %d bytes: error %v, must be permanent", what, k.h.MaxValue+1, err)
		case !strings.Contains(err.Error(), fmt.Sprint(k.h.MaxValue)) || !strings.Contains(err.Error(), fmt.Sprint(k.h.MaxValue+1)):
			k.Errorf("%s of %d bytes: error %q, must name the length and the limit of %d", what, k.h.MaxValue+1, err, k.h.MaxValue)
		}
	}
	tooLong := []byte(fits + "v")
	refused("Proclaim", k.do("Proclaim", func(ctx context.Context) error { return l.Proclaim(ctx, tooLong) }))
	k.renew(l)
	k.wantLeader(b, k.key, l, fits)
	k.resign(l)
	refused("Campaign", k.do("Campaign", func(ctx context.Context) error {
		_, err := b.Campaign(ctx, k.key, tooLong)
		return err
	}))
	k.wantVacant(b, k.key)
	k.resign(k.win(k.open(), k.key, "short"))
	k.resign(k.win(b, k.key, "short"))
}

func scribble(k *kit) {
	b := k.open()
	o := k.observe(k.open(), k.key)
	value := []byte("campaign")
	l := begin(k, "Campaign", func(ctx context.Context) (backend.Lease, error) { return b.Campaign(ctx, k.key, value) }).must()
	copy(value, "xxxxxxxx")
	o.untilTerm(l, "campaign")
	k.renew(l)
	k.wantLeader(b, k.key, l, "campaign")
	value = []byte("proclaim")
	k.must("Proclaim", func(ctx context.Context) error { return l.Proclaim(ctx, value) })
	copy(value, "xxxxxxxx")
	o.untilTerm(l, "proclaim")
	k.renew(l)
	k.wantLeader(k.open(), k.key, l, "proclaim")
	k.resign(l)
}

func badKeys(k *kit) {
	b := k.open()
	for _, key := range []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "./a", "a/..", "a/../b", "a b", " a", "a\n", "a\x00b", "é", "a\xff", "a*", "a>", "{a}", "a:b", "a\\b", "a%2Fb",
		strings.Repeat("k", backend.MaxKeyLen+1),
	} {
		err := k.do("Campaign", func(ctx context.Context) error {
			l, err := b.Campaign(ctx, key, nil)
			if l != nil {
				k.Errorf("Campaign for the bad key %q returned a lease", key)
			}
			return err
		})
		if !retry.IsPermanent(err) {
			k.Errorf("Campaign for the bad key %q: error %v, must be permanent", key, err)
		}
		_, err = k.observe(b, key).wait()
		if !retry.IsPermanent(err) {
			k.Errorf("Observe of the bad key %q ended with the error %v, must be permanent", key, err)
		}
	}
	k.resign(k.win(b, k.key, "good"))
}

func longestKey(k *kit) {
	key := k.key + "/"
	key += strings.Repeat("k", backend.MaxKeyLen-len(key))
	b := k.open()
	l := k.win(b, key, "value")
	k.wantLeader(b, key, l, "value")
	k.resign(l)
	k.wantVacant(b, key)
}

func nested(k *kit) {
	a, b := k.open(), k.open()
	keys := []string{k.key, k.key + "/b", k.key + "/b/c", k.key + ".b", k.key + "-b", k.key + "0"}
	for _, order := range [][]int{{0, 1, 2, 3, 4, 5}, {5, 4, 3, 2, 1, 0}} { // whichever comes first
		leases := make([]backend.Lease, len(keys))
		for n, i := range order {
			for _, later := range order[n:] {
				k.wantVacant(a, keys[later])
			}
			s := a
			if i%2 == 1 {
				s = b
			}
			leases[i] = k.win(s, keys[i], keys[i])
			for _, earlier := range order[:n+1] {
				k.wantLeader(b, keys[earlier], leases[earlier], keys[earlier])
			}
		}
		k.resign(leases[order[0]])
		k.wantVacant(b, keys[order[0]])
		for _, i := range order[1:] {
			k.renew(leases[i])
			k.wantLeader(b, keys[i], leases[i], keys[i])
			k.resign(leases[i])
		}
	}
}
