// The same questions asked of Go, on one processor: goroutines, channels and locks.
//
//	tasks NAME    measures that one thing once and prints the processor time in ns for each item
//	tasks         prints the names
//
// A measurement returns how many items it went through; setting up is outside the measured time
// only where greenring's is. Process start and the runtime's own threads are not counted, garbage
// collection is: it is part of what the items cost.
package main

import (
	"fmt"
	"os"
	"runtime"
	"sort"
	"sync"
	"syscall"
	"unsafe"
)

const (
	crowd    = 10000 // waiters of a broadcast
	workers  = 100   // size of a pool
	capacity = 128   // of a buffered channel
	million  = 1000000
)

// Processor time of the process: what else runs on the machine is left out.
func cpuNs() int64 {
	const clockProcessCPUTime = 2
	var now syscall.Timespec

	_, _, errno := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, clockProcessCPUTime, uintptr(unsafe.Pointer(&now)), 0)
	if errno != 0 {
		panic(errno)
	}
	return now.Nano()
}

// What is counted: from start to the return of the measurement.
var started int64

func start() {
	started = cpuNs()
}

// ---- channels ----

// A message there and its answer back, each over an unbuffered channel.
func channelRoundTrip() int {
	there, back := make(chan int), make(chan int)

	go func() {
		for value := range there {
			back <- value
		}
		close(back)
	}()
	start()
	for count := 0; count < million; count++ {
		there <- count
		<-back
	}
	close(there)
	return million
}

func transfer(capacity, count int) int {
	channel := make(chan int, capacity)

	go func() {
		for value := 0; value < count; value++ {
			channel <- value
		}
		close(channel)
	}()
	start()
	for range channel {
	}
	return count
}

func channelUnbuffered() int {
	return transfer(0, 2*million)
}

func channelBuffered() int {
	return transfer(capacity, 4*million)
}

// ---- select: one goroutine receives from whichever of several channels has a message ----

// Sends to one channel after the other, in strides, so that neighbours differ.
func feed(channels []chan int, count int) {
	for index := 0; index < count; index++ {
		channels[index*7%len(channels)] <- index
	}
}

func makeChannels(count int) []chan int {
	channels := make([]chan int, count)
	for index := range channels {
		channels[index] = make(chan int)
	}
	return channels
}

func selectOf2() int {
	c := makeChannels(2)

	go feed(c, million)
	start()
	for count := 0; count < million; count++ {
		select {
		case <-c[0]:
		case <-c[1]:
		}
	}
	return million
}

// Written out: reflect.Select, which takes a slice, costs several times as much.
func selectOf64() int {
	const count = million / 10
	c := makeChannels(64)

	go feed(c, count)
	start()
	for received := 0; received < count; received++ {
		select {
		case <-c[0]:
		case <-c[1]:
		case <-c[2]:
		case <-c[3]:
		case <-c[4]:
		case <-c[5]:
		case <-c[6]:
		case <-c[7]:
		case <-c[8]:
		case <-c[9]:
		case <-c[10]:
		case <-c[11]:
		case <-c[12]:
		case <-c[13]:
		case <-c[14]:
		case <-c[15]:
		case <-c[16]:
		case <-c[17]:
		case <-c[18]:
		case <-c[19]:
		case <-c[20]:
		case <-c[21]:
		case <-c[22]:
		case <-c[23]:
		case <-c[24]:
		case <-c[25]:
		case <-c[26]:
		case <-c[27]:
		case <-c[28]:
		case <-c[29]:
		case <-c[30]:
		case <-c[31]:
		case <-c[32]:
		case <-c[33]:
		case <-c[34]:
		case <-c[35]:
		case <-c[36]:
		case <-c[37]:
		case <-c[38]:
		case <-c[39]:
		case <-c[40]:
		case <-c[41]:
		case <-c[42]:
		case <-c[43]:
		case <-c[44]:
		case <-c[45]:
		case <-c[46]:
		case <-c[47]:
		case <-c[48]:
		case <-c[49]:
		case <-c[50]:
		case <-c[51]:
		case <-c[52]:
		case <-c[53]:
		case <-c[54]:
		case <-c[55]:
		case <-c[56]:
		case <-c[57]:
		case <-c[58]:
		case <-c[59]:
		case <-c[60]:
		case <-c[61]:
		case <-c[62]:
		case <-c[63]:
		}
	}
	return count
}

// ---- locks ----

func mutexUncontended() int {
	var mutex sync.Mutex

	start()
	for count := 0; count < 10*million; count++ {
		mutex.Lock()
		mutex.Unlock()
	}
	return 10 * million
}

// Two goroutines, each of which lets the other one run while it holds what both want.
func contend(take, give func()) int {
	var group sync.WaitGroup

	start()
	for worker := 0; worker < 2; worker++ {
		group.Add(1)
		go func() {
			for count := 0; count < million/2; count++ {
				take()
				runtime.Gosched()
				give()
			}
			group.Done()
		}()
	}
	group.Wait()
	return million
}

func mutexHandOff() int {
	var mutex sync.Mutex

	return contend(mutex.Lock, mutex.Unlock)
}

// A channel of capacity 1 is Go's semaphore.
func semaphoreHandOff() int {
	units := make(chan struct{}, 1)

	return contend(func() { units <- struct{}{} }, func() { <-units })
}

// ---- events: the close of a channel ----

// There and back: two wakes. A closed channel stays closed, so each needs one of its own.
func eventWake() int {
	const batches, batch = 500, 1000

	start()
	for round := 0; round < batches; round++ {
		there, back := makeChannels(batch), makeChannels(batch)

		go func() {
			for index := range there {
				<-there[index]
				close(back[index])
			}
		}()
		for index := range there {
			close(there[index])
			<-back[index]
		}
	}
	return 2 * batches * batch
}

func eventBroadcast() int {
	const rounds = 20

	start()
	setUp := int64(0)
	for round := 0; round < rounds; round++ {
		var group sync.WaitGroup
		event := make(chan struct{})
		before := cpuNs()

		group.Add(crowd)
		for waiter := 0; waiter < crowd; waiter++ {
			go func() {
				<-event
				group.Done()
			}()
		}
		runtime.Gosched()
		setUp += cpuNs() - before
		close(event)
		group.Wait()
	}
	started += setUp
	return rounds * crowd
}

// ---- pools ----

func poolSpawn() int {
	var group sync.WaitGroup
	places := make(chan struct{}, workers)

	start()
	for job := 0; job < million; job++ {
		places <- struct{}{}
		group.Add(1)
		go func() {
			group.Done()
			<-places
		}()
	}
	group.Wait()
	return million
}

// Results in the order of their items, at most a pool's size of them under way.
func poolOrderedMap() int {
	const items = 100000
	pipeline := make(chan chan int, workers)

	start()
	go func() {
		for item := 0; item < items; item++ {
			result := make(chan int, 1)
			pipeline <- result
			go func(item int) { result <- item + 1 }(item)
		}
		close(pipeline)
	}()
	expected := 0
	for result := range pipeline {
		expected++
		if <-result != expected {
			panic("out of order")
		}
	}
	return items
}

// ---- which ----

var measurements = map[string]func() int{
	"channel-round-trip": channelRoundTrip,
	"channel-unbuffered": channelUnbuffered,
	"channel-buffered":   channelBuffered,
	"select-2":           selectOf2,
	"select-64":          selectOf64,
	"mutex-uncontended":  mutexUncontended,
	"mutex-hand-off":     mutexHandOff,
	"semaphore-hand-off": semaphoreHandOff,
	"event-wake":         eventWake,
	"event-broadcast":    eventBroadcast,
	"pool-spawn":         poolSpawn,
	"pool-ordered-map":   poolOrderedMap,
}

func printNames() {
	names := make([]string, 0, len(measurements))
	for name := range measurements {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		fmt.Println(name)
	}
}

func main() {
	if len(os.Args) != 2 {
		printNames()
		return
	}
	measure := measurements[os.Args[1]]
	if measure == nil {
		fmt.Fprintf(os.Stderr, "%s: no measurement of that name\n", os.Args[1])
		os.Exit(2)
	}
	runtime.GOMAXPROCS(1)
	items := measure()
	fmt.Printf("%.2f\n", float64(cpuNs()-started)/float64(items))
}
