// relay GATEWAY ORIGIN PORT... carries each connection to [GATEWAY]:PORT on to ORIGIN:PORT.
package main

import (
	"io"
	"log"
	"net"
	"os"
	"sync"
)

func main() {
	gateway, origin := os.Args[1], os.Args[2]
	for _, port := range os.Args[3:] {
		listener, err := net.Listen("tcp", net.JoinHostPort(gateway, port))
		if err != nil {
			log.Fatal(err)
		}
		go serve(listener, net.JoinHostPort(origin, port))
	}
	select {}
}

func serve(listener net.Listener, origin string) {
	for {
		client, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go relay(client.(*net.TCPConn), origin)
	}
}

func relay(client *net.TCPConn, origin string) {
	defer client.Close()
	dialled, err := net.Dial("tcp", origin)
	if err != nil {
		return
	}
	server := dialled.(*net.TCPConn)
	defer server.Close()
	var both sync.WaitGroup
	both.Add(2)
	go copyTo(server, client, &both)
	go copyTo(client, server, &both)
	both.Wait()
}

// copyTo splices on Linux: both ends are TCP.
func copyTo(to, from *net.TCPConn, done *sync.WaitGroup) {
	defer done.Done()
	io.Copy(to, from)
	to.CloseWrite()
}
