// cowvet bench: how fast an image is read or written, as qemu-img bench measures it, and at random places as well.
#include <atomic>
#include <cerrno>
#include <chrono>
#include <mutex>

#include <fmt/format.h>

#include "base/parallel.hpp"
#include "base/text.hpp"
#include "cli/disks.hpp"
#include "cli/interrupt.hpp"
#include "cli/io_commands.hpp"
#include "cli/meter.hpp"
#include "cli/overlay_guard.hpp"
#include "cli/program.hpp"
#include "cli/shared.hpp"
#include "cli/verbs.hpp"

namespace cowvet::cli {

namespace {

using base::ErrorKind;

constexpr std::uint64_t most_requests = INT32_MAX;
constexpr std::uint64_t most_request_bytes = INT32_MAX;  // of a request
constexpr std::uint64_t bench_part_bytes = 4ULL << 20;   // carried out at once, so that buffers stay small
constexpr std::size_t requests_at_once = 128;            // that a thread takes before it asks for more

struct BenchRequest {
  std::string image, format, aio;
  DiskWords words;
  OverlayGuard guard;
  std::uint64_t count = 75000, depth = 64, flush_interval = 0, pattern = 0, seed = 0;
  std::optional<std::uint64_t> offset, size, step;
  bool write = false, random = false, quiet = false, native = false, no_drain = false;
};

base::Result<void> settle(BenchRequest& r) {
  const auto wrong = [](std::string what) { return base::fail(ErrorKind::usage, std::move(what)); };
  r.size = r.size.value_or(4096);
  if (r.step.value_or(0) == 0) r.step = r.size;
  r.offset = r.offset.value_or(0);
  if (r.count > most_requests) return wrong("Invalid request count specified");
  if (r.depth == 0 || r.depth > most_requests) return wrong("Invalid queue depth specified");
  if (*r.size > most_request_bytes)
    return wrong("Invalid buffer size specified. Must be between 0 and 2147483647.");
  if (*r.step > most_request_bytes) return wrong("Invalid step size specified");
  if (r.pattern > 0xff) return wrong("Invalid pattern byte specified");
  if (r.flush_interval != 0 && !r.write) return wrong("--flush-interval is only available in write tests");
  if (r.flush_interval != 0 && r.flush_interval < r.depth)
    return wrong("Flush interval can't be smaller than depth");
  if (!r.words.cache.empty() && !known_cache_mode(r.words.cache)) return wrong("Invalid cache mode");
  if (!r.aio.empty() && !known_aio_mode(r.aio)) return wrong("Invalid aio option: " + r.aio);
  if (r.aio == "io_uring") r.words.io = "uring";
  return {};
}

// Where the requests go: one behind the other, and over again at the disk's end; or anywhere, in whole steps
// of a request.
class Places {
 public:
  Places(const BenchRequest& r, std::uint64_t disk)
      : first_(*r.offset), step_(*r.step), size_(*r.size), disk_(disk), random_(r.random), seed_(r.seed) {}

  [[nodiscard]] std::uint64_t of(std::uint64_t number) const {
    if (random_) {
      const std::uint64_t places = size_ == 0 ? 1 : std::max<std::uint64_t>(disk_ / size_, 1);
      return mixed(seed_ + number) % places * size_;
    }
    if (disk_ == 0) return first_;
    const std::uint64_t at = first_ % disk_ + (number * step_) % disk_;  // number and step are below 2^31
    return number == 0 ? first_ : at % disk_;
  }

 private:
  // Neighbouring numbers become unrelated ones (splitmix64).
  static std::uint64_t mixed(std::uint64_t x) {
    x += 0x9e3779b97f4a7c15;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
  }

  std::uint64_t first_, step_, size_, disk_;
  bool random_;
  std::uint64_t seed_;
};

// Calls act(place, bytes) for the parts of a request that begins at `at` of a disk of `end` bytes.
template <class Act>
base::Result<void> in_parts(std::uint64_t at, std::uint64_t size, std::uint64_t end,
                            base::MutableBytes buffer, Act&& act) {
  if (at > end || size > end - at)
    return base::fail(ErrorKind::io, fmt::format("{} bytes at {} are more than the disk has", size, at), EIO);
  std::uint64_t done = 0;
  do {
    const auto part =
        buffer.first(static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), size - done)));
    if (base::Result<void> result = act(base::GuestOffset{at + done}, part); !result) return result;
    done += part.size();
  } while (done < size);
  return {};
}

std::vector<std::byte> buffer_for(const BenchRequest& r) {
  return std::vector<std::byte>(static_cast<std::size_t>(std::min(*r.size, bench_part_bytes)),
                                static_cast<std::byte>(r.pattern));
}

base::Result<void> run_reads(const BenchRequest& r, const engine::Disk& disk, base::Progress& progress) {
  const Places places(r, disk.size());
  const auto jobs = static_cast<unsigned>(std::min<std::uint64_t>(base::default_jobs(), r.depth));
  std::mutex mutex;
  base::Result<void> outcome;
  std::atomic<bool> failed = false;
  std::vector<std::vector<std::byte>> buffers(jobs);
  const std::size_t tasks = static_cast<std::size_t>((r.count + requests_at_once - 1) / requests_at_once);
  base::parallel_for(jobs, tasks, [&](std::size_t task, unsigned worker) {
    auto& buffer = buffers[worker];
    if (buffer.empty()) buffer = buffer_for(r);
    const std::uint64_t begin = task * requests_at_once;
    const std::uint64_t end = std::min<std::uint64_t>(begin + requests_at_once, r.count);
    for (std::uint64_t i = begin; i < end && !failed && !progress.stop_requested(); ++i) {
      auto read =
          in_parts(places.of(i), *r.size, disk.size(), buffer,
                   [&](base::GuestOffset at, base::MutableBytes into) { return disk.read(at, into); });
      if (read) continue;
      const std::scoped_lock lock(mutex);
      if (!failed.exchange(true)) outcome = std::move(read);
    }
    progress.advance((end - begin) * *r.size);
  });
  return outcome;
}

base::Result<void> run_writes(const BenchRequest& r, engine::Disk& disk, base::Progress& progress) {
  const Places places(r, disk.size());
  const bool each_durable = r.words.cache == "writethrough" || r.words.cache == "directsync";
  auto buffer = buffer_for(r);
  for (std::uint64_t i = 0; i < r.count && !progress.stop_requested(); ++i) {
    auto done = in_parts(places.of(i), *r.size, disk.size(), buffer,
                         [&](base::GuestOffset at, base::MutableBytes from) { return disk.write(at, from); });
    const bool due = r.flush_interval != 0 && (i + 1) % r.flush_interval == 0;
    if (done && (due || each_durable)) done = disk.flush();
    if (!done) return done;
    progress.advance(*r.size);
  }
  return {};
}

base::Result<void> bench_as(const BenchRequest& r, Console& console) {
  if (r.write)
    if (auto free = refuse_with_overlays(r.image, r.words.image_options, r.guard); !free) return free;
  auto image = open_disk(r.image, r.words, {.format = image_format(r.format), .writable = r.write});
  if (!image) return std::unexpected(image.error());
  if (!r.random)
    console.print(fmt::format(
        "Sending {} {} requests, {} bytes each, {} in parallel (starting at offset {}, step size {})\n",
        r.count, r.write ? "write" : "read", *r.size, r.depth, *r.offset, *r.step));
  else
    console.print(fmt::format("Sending {} {} requests, {} bytes each, {} in parallel (anywhere, seed {})\n",
                              r.count, r.write ? "write" : "read", *r.size, r.depth, r.seed));
  if (r.flush_interval != 0)
    console.print(fmt::format("Sending flush every {} requests\n", r.flush_interval));
  (void)console.flush();

  base::Progress progress;
  progress.expect(r.count * *r.size);
  const StopOnSignal stop(progress);
  const auto begin = std::chrono::steady_clock::now();
  base::Result<void> done;
  {
    const Meter meter(progress, base::escape(r.image), Meter::style(false, r.quiet));
    done = r.write ? run_writes(r, (*image)->disk(), progress) : run_reads(r, (*image)->disk(), progress);
  }
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
  if (!done) {
    done.error().message = worded("a request failed: " + done.error().message,
                                  fmt::format("Failed request: {}", io_reason(done.error())));
    (void)(*image)->close();
    return done;
  }
  if (auto closed = (*image)->close(); !closed) return closed;
  if (progress.stop_requested())
    return base::fail(ErrorKind::cancelled, "stopped before all requests were done");
  console.print(fmt::format("Run completed in {:.3f} seconds.\n", time.count()));
  return {};
}

}  // namespace

Exit bench(std::span<char* const> words, Console& console) {
  BenchRequest request;
  Arguments arguments(
      "bench", "Measures how fast an image is read or written, as qemu-img bench does.",
      "  cowvet bench disk.qcow2                             # 75000 reads of 4 KiB\n"
      "  cowvet bench --random -c 200000 disk.qcow2          # anywhere on the disk\n"
      "  cowvet bench -w --pattern 7 -s 64k --flush-interval 64 scratch.qcow2   # overwrites it");
  arguments.number("-c", request.count, "How many requests; 75000 when not given");
  arguments.number("-d", request.depth,
                   "How many at once; 64 when not given. Reads run on all cores, writes in turn");
  arguments.word("-f", request.format, {"qcow2", "raw"}, "The image's format; found out when not given");
  arguments.number("--flush-interval", request.flush_interval, "Flush after so many writes");
  arguments.text("-i", request.aio, "MODE", "How files are read: threads, native or io_uring");
  arguments.flag("-n", request.native, "Taken, without effect: files are always read through the page cache");
  arguments.flag("--no-drain", request.no_drain,
                 "Taken, without effect: writes are done in turn, and a flush waits for those before it");
  arguments.size("-o", request.offset, "Where the first request begins; 0 when not given");
  arguments.number("--pattern", request.pattern, "The byte to write; 0 when not given");
  arguments.flag("-q,--quiet", request.quiet, "Don't show progress");
  arguments.size("-s", request.size, "Bytes of a request; 4k when not given");
  arguments.size("-S", request.step, "How far the next request begins; a request's size when not given");
  arguments.flag("--random", request.random, "Requests go anywhere on the disk, -o and -S don't count");
  arguments.number("--seed", request.seed, "With --random: another number, other places");
  arguments.flag("-w", request.write, "Write, not read: what the disk holds is lost");
  request.words.add_cache(arguments);
  request.words.add_force_share(arguments);
  request.words.add_to(arguments);
  request.guard.add_to(arguments);
  arguments.operand(request.image, "IMAGE", "Image to read or write");
  if (const auto end = arguments.parse(words, console)) return *end;
  if (const auto fine = settle(request); !fine) {
    console.complain(fine.error().message);
    return Exit::failed;
  }
  if (const auto done = bench_as(request, console); !done) {
    const auto& error = done.error();
    console.complain(stands_in() && !error.opening ? error.message : about(request.image, error));
    return Exit::failed;
  }
  return Exit::success;
}

}  // namespace cowvet::cli
