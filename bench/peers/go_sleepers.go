// Peer go: very many goroutines, all asleep.
package main

import (
	"runtime"
	"sync/atomic"
	"time"
)

type sleepers struct {
	asleep, awake atomic.Int64
	last          time.Time
	allAwake      chan struct{}
}

// Returns when each of them sleeps until then.
func putToSleep(count int, until time.Time) *sleepers {
	it := &sleepers{allAwake: make(chan struct{})}
	for i := 0; i < count; i++ {
		go func() {
			it.asleep.Add(1)
			time.Sleep(time.Until(until))
			if it.awake.Add(1) == int64(count) {
				it.last = time.Now()
				close(it.allAwake)
			}
		}()
	}
	for it.asleep.Load() < int64(count) {
		runtime.Gosched()
	}
	return it
}

func bytes(given options) float64 {
	before := memory()
	putToSleep(given.count, time.Now().Add(time.Hour))
	return float64(memory()-before) / float64(given.count)
}

func spawn(given options) float64 {
	start := time.Now()
	putToSleep(given.count, start.Add(time.Hour))
	return float64(time.Since(start).Nanoseconds()) / float64(given.count)
}

// As bench/support/sleepers.hpp does it: how long it takes to get to sleep, and from the moment at
// which all are due until the last has run; and whether all were asleep before that moment.
func spendNight(count int, length time.Duration) (goingToSleep, wakingUp time.Duration, inTime bool) {
	start := time.Now()
	due := start.Add(length)
	it := putToSleep(count, due)
	asleep := time.Now()
	<-it.allAwake
	return asleep.Sub(start), it.last.Sub(due), asleep.Before(due)
}

func wake(given options) float64 {
	const shortest = 50 * time.Millisecond
	goingToSleep, _, _ := spendNight(given.count/20+1, shortest)
	for length := shortest + 30*goingToSleep; ; length *= 2 {
		if _, wakingUp, inTime := spendNight(given.count, length); inTime {
			return float64(wakingUp.Nanoseconds()) / float64(given.count)
		}
	}
}

func main() {
	run(map[string]operation{"sleepers_bytes": bytes, "sleepers_spawn": spawn, "sleepers_wake": wake})
}
