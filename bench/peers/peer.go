// What bench/support/bench.hpp is to the C++ programs: arguments, calibrated measurement, the line
// printed. Built together with the one program that uses it.
package main

import (
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// The count is 0 where the name of the case has none. The runner pins the process.
type options struct {
	operation string
	count     int
	atMost    int
	seconds   float64
}

type operation func(options) float64

func fail(text string) {
	fmt.Fprintln(os.Stderr, text)
	os.Exit(1)
}

var number = regexp.MustCompile(`^(\d+)([kM]?)$`)

// sleepers_1M_wake is the operation sleepers_wake with a count of a million.
func readName(name string, into *options) {
	var words []string
	for _, word := range strings.Split(name, "_") {
		if parts := number.FindStringSubmatch(word); parts != nil {
			into.count, _ = strconv.Atoi(parts[1])
			into.count *= map[string]int{"": 1, "k": 1_000, "M": 1_000_000}[parts[2]]
		} else {
			words = append(words, word)
		}
	}
	into.operation = strings.Join(words, "_")
}

func readArguments(words []string) options {
	result := options{seconds: 0.3, atMost: int(^uint(0) >> 1)}
	if len(words)%2 != 0 || len(words) < 2 {
		fail("usage: PROGRAM CASE [--seconds S] [--cores A,B] [--at-most N]")
	}
	readName(words[1], &result)
	for i := 2; i < len(words); i += 2 {
		var err error
		switch words[i] {
		case "--seconds":
			result.seconds, err = strconv.ParseFloat(words[i+1], 64)
		case "--at-most":
			result.atMost, err = strconv.Atoi(words[i+1])
		case "--cores":
		default:
			fail("unknown option " + words[i])
		}
		if err != nil {
			fail(err.Error())
		}
	}
	if result.count > result.atMost {
		result.count = result.atMost
	}
	return result
}

// One thread runs Go code, as one runs the greenlets of a hub.
func run(operations map[string]operation) {
	runtime.GOMAXPROCS(1)
	given := readArguments(os.Args)
	body, known := operations[given.operation]
	if !known {
		fmt.Printf("{\"value\": null, \"note\": \"this program has no operation %s\"}\n", given.operation)
		return
	}
	fmt.Printf("{\"value\": %g}\n", body(given))
}

// body(n) does at least n operations and returns how many it has counted.
func timed(body func(n int) int) operation {
	return func(given options) float64 { return nsPerOperation(given, body) }
}

func nsPerOperation(given options, body func(n int) int) float64 {
	measure := func(n int) (elapsed, each float64) {
		start := time.Now()
		done := body(n)
		elapsed = float64(time.Since(start).Nanoseconds() + 1)
		if done < n {
			fail(fmt.Sprintf("asked for %d operations, counted %d", n, done))
		}
		return elapsed, elapsed / float64(done)
	}
	wanted := given.seconds * 1e9
	n := 100
	elapsed, each := measure(n)
	for elapsed < wanted/5 {
		grow := wanted / 4 / elapsed
		if grow < 2 {
			grow = 2
		} else if grow > 100 {
			grow = 100
		}
		n = int(float64(n) * grow)
		elapsed, each = measure(n)
	}
	_, each = measure(int(wanted/each) + 1)
	return each
}

// Resident memory and page tables of this process, in bytes.
func memory() int {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		fail(err.Error())
	}
	total := 0
	for _, line := range strings.Split(string(status), "\n") {
		if words := strings.Fields(line); len(words) == 3 && (words[0] == "VmRSS:" || words[0] == "VmPTE:") {
			kibibytes, _ := strconv.Atoi(words[1])
			total += 1024 * kibibytes
		}
	}
	return total
}
