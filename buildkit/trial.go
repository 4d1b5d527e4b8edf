package buildkit

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io/fs"
	"time"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/graph"
)

// TrialPlatforms are those that [Builder.Trial] has a program for.
var TrialPlatforms = []string{"linux/amd64", "linux/386", "linux/arm64"}

// Trial builds a small image with a RUN, whose program for platform ends at once: it
// shows whether the engine starts programs. into is a staging folder that the caller
// discards. The error is an *UnfitError or *EngineError if the engine does not run
// programs of that platform.
func (b *Builder) Trial(ctx context.Context, into *cache.Staging, platform string) error {
	if err := b.CheckPlatforms(ctx, []string{platform}); err != nil {
		return err
	}
	program := trialProgram(platform)
	if program == nil {
		return fmt.Errorf("there is no program for %s to try", platform)
	}
	r := probeRequest()
	r.Platforms = []string{platform}
	when := time.Unix(1, 0)
	_, err := b.Build(ctx, Job{
		Ref: graph.Ref{Stage: "sx", Name: "trial"}, Request: r, Into: into, NoCache: true,
		Files: []graph.File{
			{Path: "Containerfile", Mode: 0o644, ModTime: when, Data: []byte("FROM scratch\nCOPY end /end\nRUN --network=none [\"/end\"]\n")},
			{Path: "end", Mode: fs.FileMode(0o755), ModTime: when, Data: program},
		},
	})
	return err
}

// trialProgram returns an ELF file that ends with exit code 0, nil for a platform that
// there is none for.
func trialProgram(platform string) []byte {
	switch platform {
	case "linux/386":
		return elf32(3, []byte{
			0x31, 0xdb, // xor ebx, ebx
			0xb8, 1, 0, 0, 0, // mov eax, 1 (exit)
			0xcd, 0x80, // int 0x80
		})
	case "linux/amd64":
		return elf64(62, []byte{
			0x31, 0xff, // xor edi, edi
			0xb8, 60, 0, 0, 0, // mov eax, 60 (exit)
			0x0f, 0x05, // syscall
		})
	case "linux/arm64":
		return elf64(183, []byte{
			0x00, 0x00, 0x80, 0xd2, // mov x0, 0
			0xa8, 0x0b, 0x80, 0xd2, // mov x8, 93 (exit)
			0x01, 0x00, 0x00, 0xd4, // svc 0
		})
	}
	return nil
}

// elfBase is the address at which these programs are loaded.
const elfBase = 0x400000

// elf64 returns an executable with one segment: the headers and code (elf(5)).
func elf64(machine uint16, code []byte) []byte {
	const headers = 64 + 56
	size := uint64(headers + len(code))
	return elf(2, struct {
		Type, Machine              uint16
		Version                    uint32
		Entry, Phoff, Shoff        uint64
		Flags                      uint32
		Ehsize, Phentsize, Phnum   uint16
		Shentsize, Shnum, Shstrndx uint16
		PType, PFlags              uint32
		Offset, Vaddr, Paddr       uint64
		Filesz, Memsz, Align       uint64
	}{
		Type: 2, Machine: machine, Version: 1, Entry: elfBase + headers, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1,
		PType: 1, PFlags: 5, Vaddr: elfBase, Paddr: elfBase, Filesz: size, Memsz: size, Align: 0x1000,
	}, code)
}

// elf32 is elf64 for machines of 32 bits.
func elf32(machine uint16, code []byte) []byte {
	const headers = 52 + 32
	size := uint32(headers + len(code))
	return elf(1, struct {
		Type, Machine              uint16
		Version                    uint32
		Entry, Phoff, Shoff        uint32
		Flags                      uint32
		Ehsize, Phentsize, Phnum   uint16
		Shentsize, Shnum, Shstrndx uint16
		PType                      uint32
		Offset, Vaddr, Paddr       uint32
		Filesz, Memsz              uint32
		PFlags, Align              uint32
	}{
		Type: 2, Machine: machine, Version: 1, Entry: elfBase + headers, Phoff: 52, Ehsize: 52, Phentsize: 32, Phnum: 1,
		PType: 1, PFlags: 5, Vaddr: elfBase, Paddr: elfBase, Filesz: size, Memsz: size, Align: 0x1000,
	}, code)
}

// elf writes the identification of a class, the headers and the code.
func elf(class byte, headers any, code []byte) []byte {
	var b bytes.Buffer
	b.Write(append([]byte{0x7f, 'E', 'L', 'F', class, 1, 1}, make([]byte, 9)...))
	binary.Write(&b, binary.LittleEndian, headers) // of fixed size, into memory: it cannot fail
	b.Write(code)
	return b.Bytes()
}
