//go:build unix

package servers

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"syscall"
	"time"
)

// CloseSession ends a session of somebody else's, as an operator might wish to: no tool of ZooKeeper's does that, but
// whoever knows a session's password may take it over, and the server makes the password of the id, by Java's
// random numbers. Its client connects again at once when it is taken over, and may be back before the
// session was closed; so look, and call again.
func (z *ZooKeeper) CloseSession(ctx context.Context, id int64) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", z.Endpoint())
	if err != nil {
		return err
	}
	defer conn.Close()
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(patience)
	}
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	password := zooKeeperPassword(id)
	hello := binary.BigEndian.AppendUint32(nil, 44)     // length
	hello = binary.BigEndian.AppendUint32(hello, 0)     // protocol
	hello = binary.BigEndian.AppendUint64(hello, 0)     // the last transaction seen
	hello = binary.BigEndian.AppendUint32(hello, 10000) // timeout
	hello = binary.BigEndian.AppendUint64(hello, uint64(id))
	hello = binary.BigEndian.AppendUint32(hello, uint32(len(password)))
	hello = append(hello, password...)
	const closeSession = -11
	op := int32(closeSession)
	bye := binary.BigEndian.AppendUint32(nil, 8) // length
	bye = binary.BigEndian.AppendUint32(bye, 1)
	bye = binary.BigEndian.AppendUint32(bye, uint32(op))
	if _, err := conn.Write(append(hello, bye...)); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, conn) // the answers, and the end
	if _, reset := errors.AsType[syscall.Errno](err); reset {
		return nil // the client was faster
	}
	return err
}

func zooKeeperPassword(session int64) []byte {
	const superSecret, size = 0xB3415C00, 16
	seed := (uint64(session^superSecret) ^ 0x5DEECE66D) & (1<<48 - 1)
	var password []byte
	for len(password) < size {
		seed = (seed*0x5DEECE66D + 0xB) & (1<<48 - 1)
		password = binary.LittleEndian.AppendUint32(password, uint32(seed>>16))
	}
	return password
}
