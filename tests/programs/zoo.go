// A Go program with a heap that is used. Says `ready PID`, then answers each line with KIND:ADDRESS pairs.
package main

import (
	"bufio"
	"fmt"
	"os"
	"time"
)

var kept [][]byte
var global [1 << 20]byte

func main() {
	for i := 0; i < 100; i++ {
		block := make([]byte, 1<<20)
		for j := 0; j < len(block); j += 4096 {
			block[j] = 1
		}
		kept = append(kept, block)
		go time.Sleep(time.Hour)
	}
	small := fmt.Sprint(kept[0][0])
	fmt.Println("ready", os.Getpid())
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		fmt.Printf("managed-heap:%x managed-heap:%x image:%x ", &kept[0][0], &kept[99][0], &global[len(global)-1])
		fmt.Println(len(small))
	}
}
