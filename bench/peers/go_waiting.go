// Peer go: goroutines that wait for each other, or could. A condition variable stands for events, a
// mutex (faster than a channel) for the semaphore, a context for the scope of a timeout.
package main

import (
	"context"
	"sync"
	"time"
)

func eventPingpong(n int) int {
	var mutex sync.Mutex
	changed := sync.NewCond(&mutex)
	there := false
	play := func(mySide bool) int {
		done := 0
		for ; done < n; done++ {
			mutex.Lock()
			for there != mySide {
				changed.Wait()
			}
			there = !mySide
			changed.Signal()
			mutex.Unlock()
		}
		return done
	}
	var other sync.WaitGroup
	other.Add(1)
	go func() {
		play(true)
		other.Done()
	}()
	done := play(false)
	other.Wait()
	return done
}

func queuePingpong(n int) int {
	there, back := make(chan int, 1), make(chan int, 1)
	go func() {
		for i := range there {
			back <- i
		}
	}()
	done := 0
	for i := 0; i < n; i++ {
		there <- i
		if <-back == i {
			done++
		}
	}
	close(there)
	return done
}

func queueStream(n int) int {
	queue := make(chan int, 1024)
	go func() {
		for i := 0; i < n; i++ {
			queue <- i
		}
	}()
	done := 0
	for i := 0; i < n; i++ {
		if <-queue == i {
			done++
		}
	}
	return done
}

func semaphoreUncontended(n int) int {
	var mutex sync.Mutex
	for i := 0; i < n; i++ {
		mutex.Lock()
		mutex.Unlock()
	}
	return n
}

func timeoutScope(n int) int {
	for i := 0; i < n; i++ {
		_, leave := context.WithTimeout(context.Background(), 10*time.Second)
		leave()
	}
	return n
}

func main() {
	run(map[string]operation{
		"event_pingpong":        timed(eventPingpong),
		"queue_pingpong":        timed(queuePingpong),
		"queue_stream":          timed(queueStream),
		"semaphore_uncontended": timed(semaphoreUncontended),
		"timeout_scope":         timed(timeoutScope),
	})
}
