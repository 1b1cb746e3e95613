// Memory under load in Go, as it is told: a word in, a word out.
package main

import (
	"bufio"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
)

var (
	kept  [][]byte
	small []map[int]string
	gates []chan bool
)

func grow() {
	for i := 0; i < 400; i++ {
		block := make([]byte, 1000+i*500)
		for j := 0; j < len(block); j += 4096 {
			block[j] = 1
		}
		kept = append(kept, block)
	}
	table := map[int]string{}
	for i := 0; i < 20000; i++ {
		table[i] = strconv.Itoa(i)
	}
	small = append(small, table)
}

func enlarge() {
	for i := range kept {
		if i%3 == 0 {
			kept[i] = append(kept[i], kept[i]...)
		}
	}
}

func release() {
	kept = append([][]byte{}, kept[len(kept)/2:]...)
	small = nil
	debug.FreeOSMemory()
}

// Each with a thread of its own, which ends with it.
func start() {
	for i := 0; i < 10; i++ {
		ready, gate := make(chan bool), make(chan bool)
		go func() {
			runtime.LockOSThread()
			ready <- true
			<-gate
		}()
		<-ready
		gates = append(gates, gate)
	}
}

func join() {
	for _, gate := range gates {
		close(gate)
	}
	gates = nil
	runtime.GC()
}

func main() {
	words := map[string]func(){"grow": grow, "enlarge": enlarge, "release": release, "start": start, "join": join}
	println := func(text string) { os.Stdout.WriteString(text + "\n") }
	println("ready " + strconv.Itoa(os.Getpid()))
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		words[in.Text()]()
		println("done")
	}
}
