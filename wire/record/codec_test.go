package record

import (
	"bytes"
	stdgzip "compress/gzip"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/snappy/xerial"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"pgregory.net/rapid"
)

func compressed(t tester, codec Codec, src []byte) []byte {
	t.Helper()
	out, err := Compress(codec, 0, src, nil)
	if err != nil {
		t.Fatalf("compress %v: %v", codec, err)
	}
	return out
}

func TestCodecRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		codec := rapid.SampledFrom(allCodecs).Draw(t, "codec")
		level := rapid.IntRange(-3, 25).Draw(t, "level")
		src := rapid.OneOf(genBytes(false), rapid.Custom(bigInput)).Draw(t, "src")
		prefix := rapid.SliceOfN(rapid.Byte(), 0, 5).Draw(t, "prefix")
		packed, err := Compress(codec, level, src, bytes.Clone(prefix))
		if err != nil {
			t.Fatalf("compress: %v", err)
		}
		if !bytes.HasPrefix(packed, prefix) {
			t.Fatalf("what dst held is gone")
		}
		got, err := Decompress(codec, packed[len(prefix):], bytes.Clone(prefix), Limits{})
		if err != nil {
			t.Fatalf("decompress: %v", err)
		}
		if !bytes.Equal(got, append(prefix, src...)) {
			t.Fatalf("%d bytes came back as %d others", len(src), len(got))
		}
	})
}

// bigInput spans several blocks of every codec, part of it incompressible.
func bigInput(t *rapid.T) []byte {
	rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
	src := make([]byte, rapid.SampledFrom([]int{1, 1000, 65_535, 65_536, 65_537, 200_000, 400_000}).Draw(t, "size"))
	for i := 0; i < len(src)/2; i++ {
		src[i] = byte(rnd.Uint32())
	}
	return src
}

// TestCodecsAreRead has independent decoders read what we write.
func TestCodecsAreRead(t *testing.T) {
	src := bytes.Repeat([]byte("Kafka speaks many codecs. "), 20_000)
	readers := map[Codec]func(packed []byte) ([]byte, error){
		Gzip: func(packed []byte) ([]byte, error) {
			r, err := stdgzip.NewReader(bytes.NewReader(packed))
			if err != nil {
				return nil, err
			}
			return io.ReadAll(r)
		},
		Snappy: xerial.Decode,
		LZ4: func(packed []byte) ([]byte, error) {
			return io.ReadAll(lz4.NewReader(bytes.NewReader(packed))) // insists on the header's checksum
		},
		Zstd: func(packed []byte) ([]byte, error) {
			r, err := zstd.NewReader(bytes.NewReader(packed))
			if err != nil {
				return nil, err
			}
			defer r.Close()
			return io.ReadAll(r)
		},
	}
	for codec, read := range readers {
		for _, src := range [][]byte{src, src[:1], nil} {
			got, err := read(compressed(t, codec, src))
			if err != nil || !bytes.Equal(got, src) {
				t.Errorf("%v of %d bytes: read %d, error %v", codec, len(src), len(got), err)
			}
		}
	}
}

// foreign returns src as other clients compress it.
func foreign(t tester, src []byte) map[string][]byte {
	t.Helper()
	all := map[string][]byte{
		"snappy raw":     s2.EncodeSnappy(nil, src),
		"snappy xerial":  xerial.Encode(nil, src),
		"snappy streams": append(xerial.Encode(nil, src[:len(src)/2]), xerial.Encode(nil, src[len(src)/2:])...),
	}
	var gz bytes.Buffer
	for _, part := range [][]byte{src[:len(src)/3], src[len(src)/3:]} {
		w := stdgzip.NewWriter(&gz)
		w.Write(part)
		w.Close()
	}
	all["gzip members"] = gz.Bytes()
	for _, size := range []lz4.BlockSize{lz4.Block64Kb, lz4.Block256Kb, lz4.Block1Mb, lz4.Block4Mb} {
		var out bytes.Buffer
		w := lz4.NewWriter(&out)
		if err := w.Apply(lz4.BlockSizeOption(size), lz4.BlockChecksumOption(true), lz4.SizeOption(uint64(len(src)))); err != nil {
			t.Fatalf("lz4: %v", err)
		}
		w.Write(src)
		w.Close()
		all[fmt.Sprintf("lz4 %d", size)] = out.Bytes()
	}
	var zs bytes.Buffer
	w, err := zstd.NewWriter(&zs, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatalf("zstd: %v", err)
	}
	for _, part := range [][]byte{src[:len(src)/3], src[len(src)/3:]} { // flushed like Java's stream, of unknown size
		w.Write(part)
		w.Flush()
	}
	w.Close()
	all["zstd stream"] = zs.Bytes()
	all["zstd frames"] = append(compressed(t, Zstd, src[:len(src)/2]), compressed(t, Zstd, src[len(src)/2:])...)
	all["zstd skippable"] = append([]byte("\x50\x2a\x4d\x18\x03\x00\x00\x00abc"), compressed(t, Zstd, src)...)
	return all
}

func codecNamed(name string) Codec {
	for _, c := range allCodecs {
		if bytes.HasPrefix([]byte(name), []byte(c.String())) {
			return c
		}
	}
	return None
}

func TestForeignStreams(t *testing.T) {
	src := bytes.Repeat([]byte("what others write, we read. "), 30_000)
	for name, packed := range foreign(t, src) {
		got, err := Decompress(codecNamed(name), packed, nil, Limits{})
		if err != nil || !bytes.Equal(got, src) {
			t.Errorf("%s: %d bytes, want %d, error %v", name, len(got), len(src), err)
		}
	}
}

// TestLZ4Goldens has frames that the library does not write: linked blocks, and magic 0's checksum.
func TestLZ4Goldens(t *testing.T) {
	for _, golden := range []struct{ name, frame, want string }{
		{"linked blocks: 16 bytes stored, then a copy of them and 5 literals",
			"04224d18 40 40 00  10000080 30313233343536373839616263646566  09000000 0c 1000 50 7461696c21  00000000",
			"0123456789abcdef0123456789abcdeftail!"},
		{"checksum over the frame's magic, too (KAFKA-3160)",
			"04224d18 60 40 1a  10000080 30313233343536373839616263646566  00000000",
			"0123456789abcdef"},
	} {
		got, err := Decompress(LZ4, unhex(t, golden.frame), []byte("kept "), Limits{})
		if err != nil || string(got) != "kept "+golden.want {
			t.Errorf("%s: %q, error %v", golden.name, got, err)
		}
	}
	ours, err := lz4ed(0, []byte("x"), nil, lz4ChecksumMagic0)
	mustEqual(t, "error", err, nil)
	mustEqual(t, "frame for magic 0", hex.EncodeToString(ours), "04224d1860401a"+"01000080"+"78"+"00000000")
}

func unhex(t tester, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatalf("golden: %v", err)
	}
	return b
}

// bombs are small inputs that expand to about size bytes, as compressed by ourselves and, where the
// format can lie about its size, with that.
func bombs(t tester, size int) map[string][]byte {
	zeros := make([]byte, size)
	all := foreign(t, zeros)
	for _, codec := range allCodecs[1:] {
		all[codec.String()] = compressed(t, codec, zeros)
	}
	small := bytes.Clone(all["gzip"])
	binary.LittleEndian.PutUint32(small[len(small)-4:], 10)
	all["gzip that says 10 bytes"] = small
	rle := []byte("\x28\xb5\x2f\xfd\x00\x58") // window 2 MiB, size unknown
	for range size / zstdMaxBlock {
		rle = append(rle, 0x02, 0x00, 0x10, 'z') // 128 KiB of z
	}
	all["zstd of repeated bytes"] = append(rle, 0x03, 0x00, 0x00, 'z')
	return all
}

func TestBombsStayInTheirCap(t *testing.T) {
	const size, limit = 48 << 20, 8 << 20
	for name, packed := range bombs(t, size) {
		for _, lim := range []Limits{{MaxBytes: limit}, {MaxRatio: max(1, limit/len(packed))}} {
			codec := codecNamed(name)
			warm, err := Decompress(codec, compressed(t, codec, []byte("x")), nil, Limits{}) // fill the pools
			if err != nil {
				t.Fatal(err)
			}
			spent := allocated(func() { warm, err = Decompress(codec, packed, warm[:0], lim) })
			mustBe(t, err, ErrTooLarge)
			if slack := uint64(1 << 20); spent > limit+slack { // the decoders' own windows
				t.Errorf("%s, %+v: %d bytes were allocated", name, lim, spent)
			}
		}
		if got, err := Decompress(codecNamed(name), packed, nil, Limits{MaxRatio: 1 << 20}); err != nil && !strings.Contains(name, "says") {
			t.Errorf("%s within a larger limit: %d bytes, error %v", name, len(got), err)
		}
	}
}

func TestLimitIsExact(t *testing.T) {
	src := bytes.Repeat([]byte("up to here"), 80_000)
	all := foreign(t, src)
	for _, codec := range allCodecs[1:] {
		all[codec.String()] = compressed(t, codec, src)
	}
	for name, packed := range all {
		codec := codecNamed(name)
		_, err := Decompress(codec, packed, nil, Limits{MaxBytes: len(src) - 1})
		mustBe(t, err, ErrTooLarge)
		limit := len(src)
		if name == "zstd stream" {
			limit = 8 << 20 // its window
		}
		got, err := Decompress(codec, packed, nil, Limits{MaxBytes: limit})
		if err != nil || !bytes.Equal(got, src) {
			t.Errorf("%s at its limit: %d bytes, error %v", name, len(got), err)
		}
	}
	_, err := Decompress(Zstd, all["zstd frames"], nil, Limits{MaxBytes: len(src) / 2})
	mustBe(t, err, ErrTooLarge) // the first frame leaves nothing for the second
}

// allocated is how many bytes fn allocates, garbage included.
func allocated(fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestLyingSizesAllocateLittle(t *testing.T) {
	for name, packed := range map[string]string{
		"snappy": "ffffff7f 00 61",
		"gzip":   "1f8b0800000000000003 030000000000 ffffff7f",
		"zstd":   "28b52ffd e0 0000007f00000000 00 010000", // single segment, content size 2 GiB, an empty last block
	} {
		src := unhex(t, packed)
		var err error
		spent := allocated(func() { _, err = Decompress(codecNamed(name), src, nil, Limits{}) })
		mustBe(t, err, ErrCorrupt)
		if spent > 1<<20 {
			t.Errorf("%s: %d bytes allocated for %d", name, spent, len(src))
		}
	}
}

func TestMalformedStreams(t *testing.T) {
	src := bytes.Repeat([]byte("to be cut short. "), 300)
	all := foreign(t, src)
	for _, codec := range allCodecs[1:] {
		all[codec.String()] = compressed(t, codec, src)
	}
	for name, packed := range all {
		for n := range packed {
			got, err := Decompress(codecNamed(name), packed[:n], nil, Limits{})
			if err == nil && bytes.Equal(got, src) {
				t.Errorf("%s: all of it out of %d of %d bytes", name, n, len(packed))
			}
			if err != nil {
				mustBe(t, err, ErrCorrupt)
			}
		}
	}
	for _, codec := range allCodecs[1:] {
		_, err := Decompress(codec, nil, nil, Limits{})
		mustBe(t, err, ErrCorrupt)
	}
	_, err := Decompress(5, src, nil, Limits{})
	mustBe(t, err, ErrUnsupported)
	_, err = Compress(5, 0, src, nil)
	mustBe(t, err, ErrUnsupported)
	_, err = Decompress(None, src, nil, Limits{MaxBytes: 10})
	mustBe(t, err, ErrTooLarge)
}

func TestDecompressAllocatesNothingInRoom(t *testing.T) {
	src := bytes.Repeat([]byte("pooled "), 4000)
	dst := make([]byte, 0, len(src)+zstdMaxBlock)
	for _, codec := range allCodecs {
		packed := compressed(t, codec, src)
		mustNotAllocate(t, codec.String(), func() {
			if _, err := Decompress(codec, packed, dst, Limits{}); err != nil {
				t.Error(err)
			}
		})
	}
}

// mustNotAllocate allows for a pool that a garbage collection empties in the middle.
func mustNotAllocate(t *testing.T, what string, fn func()) {
	t.Helper()
	if raceEnabled { // the detector makes pools forget on purpose
		return
	}
	if n := testing.AllocsPerRun(200, fn); n >= 1 {
		t.Errorf("%s: %v allocations", what, n)
	}
}

func BenchmarkDecompress(b *testing.B) {
	src := bytes.Repeat([]byte(`{"user":"someone","action":"clicked","at":1700000000}`), 300)
	for _, codec := range allCodecs {
		b.Run("codec="+codec.String(), func(b *testing.B) {
			packed, dst := compressed(b, codec, src), []byte(nil)
			b.SetBytes(int64(len(src)))
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if dst, err = Decompress(codec, packed, dst[:0], Limits{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
