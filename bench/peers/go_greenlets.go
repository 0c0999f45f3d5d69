// Peer go: goroutines that are spawned and switch.
package main

import (
	"runtime"
	"sync"
	"sync/atomic"
)

var factors = [2]float64{0.1, 1e308}
var product float64

// work(i) is what the i-th does before each of its yields.
func takeTurns(given options, work func(i int)) float64 {
	return nsPerOperation(given, func(n int) int {
		each := (n + given.count - 1) / given.count
		var done atomic.Int64
		var all sync.WaitGroup
		all.Add(given.count)
		for i := 0; i < given.count; i++ {
			go func(i int) {
				for k := 0; k < each; k++ {
					work(i)
					runtime.Gosched()
				}
				done.Add(int64(each))
				all.Done()
			}(i)
		}
		all.Wait()
		return int(done.Load())
	})
}

func spawnJoin(given options) float64 {
	atOnce := given.count
	if atOnce == 0 {
		atOnce = 1
	}
	return nsPerOperation(given, func(n int) int {
		var done atomic.Int64
		for int(done.Load()) < n {
			var all sync.WaitGroup
			all.Add(atOnce)
			for i := 0; i < atOnce; i++ {
				go func() {
					done.Add(1)
					all.Done()
				}()
			}
			all.Wait()
		}
		return int(done.Load())
	})
}

func main() {
	run(map[string]operation{
		"yield": func(given options) float64 { return takeTurns(given, func(int) {}) },
		// As bench/support/float_flags.hpp: every other one overflows, the others are only inexact.
		"yield_float": func(given options) float64 {
			return takeTurns(given, func(i int) { product = factors[i%2] * 10.1 })
		},
		"spawn_join": spawnJoin,
	})
}
