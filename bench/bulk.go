package main

import (
	"bytes"
	"fmt"
	"time"
)

const mib = 1 << 20

// measureBulk moves one large body down or up on one connection.
func (b *bench) measureBulk(s *system, workload, direction string, size int64) {
	move := s.download
	if direction == "up" {
		move = s.upload
	}
	before, from := s.cpu(), time.Now()
	err := move(size)
	took, used := time.Since(from), s.cpu()-before
	if err != nil {
		b.sheet.fail(workload, s.name, err)
		return
	}
	b.sheet.add(workload, s.name, "MB/s", float64(size)/1e6/took.Seconds())
	b.sheet.add(workload, s.name, "CPU s/GB", used/(float64(size)/1e9))
}

// download fetches size bytes and compares each.
func (s *system) download(size int64) error {
	v := s.visitor()
	defer v.close()
	if err := v.send(s.request("GET", fmt.Sprintf("/bytes?n=%d", size), nil), bulkTimeout); err != nil {
		return err
	}
	check := &patternCheck{}
	if err := v.receive(check); err != nil {
		return fmt.Errorf("after %d of %d bytes: %w", check.n, size, err)
	}
	if check.n != size {
		return fmt.Errorf("%d bytes instead of %d", check.n, size)
	}
	return nil
}

// upload sends size bytes, which the app compares.
func (s *system) upload(size int64) error {
	v := s.visitor()
	defer v.close()
	if err := v.send(s.head("POST", "/sink", size), bulkTimeout); err != nil {
		return err
	}
	for left := size; left > 0; {
		n, err := v.conn.Write(pattern[:min(left, int64(len(pattern)))])
		if err != nil {
			return fmt.Errorf("after %d of %d bytes: %w", size-left, size, err)
		}
		left -= int64(n)
	}
	var got bytes.Buffer
	if err := v.receive(&got); err != nil {
		return err
	}
	if want := fmt.Sprintf("got %d", size); got.String() != want {
		return fmt.Errorf("the app says %q instead of %q", got.String(), want)
	}
	return nil
}
