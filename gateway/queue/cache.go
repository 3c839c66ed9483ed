package queue

import "sync/atomic"

// Bounds of what memory keeps of items, of all queues together and of one record.
const (
	cacheBytes  = 128 << 20
	cacheRecord = 8 << 20
)

// cache counts the bodies that memory keeps. A put's body is set and taken away under its partition's lock.
type cache struct{ bytes atomic.Int64 }

// keep keeps a put's body, if there is room.
func (c *cache) keep(p *put, body []byte) {
	if p.body != nil || body == nil || len(body) > cacheRecord {
		return
	}
	if c.bytes.Add(int64(len(body))) > cacheBytes {
		c.bytes.Add(-int64(len(body)))
		return
	}
	p.body = body
}

// drop gives it up.
func (c *cache) drop(p *put) {
	c.bytes.Add(-int64(len(p.body)))
	p.body = nil
}
