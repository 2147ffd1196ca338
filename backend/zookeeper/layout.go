package zookeeper

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hustings-go/hustings/retry"
)

// A candidate of election key is a node right below <root>/key, named as Curator's LeaderLatch names them:
// _c_<id>-latch-<sequence number>. The id is there to find a node whose creation was never answered; order is by
// the number alone. What else stands there, such as the node of election key/b, does not count.

const (
	marker    = "latch-"
	numberLen = 10 // digits of a sequence number, a signed 32-bit count that the parent keeps
)

// parent is the node of the election key.
func (b *Backend) parent(key string) string { return strings.TrimSuffix(b.root, "/") + "/" + key }

// prefix is what the node of a candidacy is to be called, but for the number.
func prefix(id string) string { return "_c_" + id + "-" + marker }

func isOwn(name, id string) bool { return strings.HasPrefix(name, prefix(id)) }

// number returns the sequence number of a candidate as it stands in its name, and whether name is that of a
// candidate.
func number(name string) (string, bool) {
	at := strings.LastIndex(name, marker)
	if at < 0 {
		return "", false
	}
	n := name[at+len(marker):]
	digits := strings.TrimPrefix(n, "-")
	if len(n) < numberLen || len(n) > numberLen+1 || strings.Trim(digits, "0123456789") != "" {
		return "", false
	}
	return n, true
}

// queue returns the names of the candidates, first come first served. After 2³¹ of them the numbers become
// negative, and whoever comes then would stand before the leader.
func queue(names []string) ([]string, error) {
	var candidates []string
	for _, name := range names {
		n, ok := number(name)
		if !ok {
			continue
		}
		if strings.HasPrefix(n, "-") {
			return nil, retry.Permanent(fmt.Errorf("the sequence numbers below the election's node have run over with %q: let all candidates leave and delete the node", name))
		}
		candidates = append(candidates, name)
	}
	slices.SortFunc(candidates, func(x, y string) int {
		nx, _ := number(x)
		ny, _ := number(y)
		return strings.Compare(nx, ny)
	})
	return candidates, nil
}

// validateKey refuses a key whose node would look like a candidate of the election that it is nested in.
func validateKey(key string) error {
	for segment := range strings.SplitSeq(key, "/") {
		if _, ok := number(segment); ok {
			return retry.Permanent(fmt.Errorf("the segment %q of the key looks like a candidate's node", segment))
		}
	}
	return nil
}
