#include "analyzer/deep.hpp"

#include <algorithm>
#include <atomic>

#include <fmt/format.h>

#include "analyzer/naming.hpp"
#include "analyzer/probe.hpp"
#include "base/checked.hpp"
#include "format/compression.hpp"

namespace cowvet::analyzer {

using namespace findings::literals;
using base::HostOffset;
using findings::Finding;
using findings::RuleId;
using format::Decoded;

namespace {

// What all reading and decoding may amount to, in bytes: a stream of deflate yields at most 1032 times its
// length, so an image that asks for more names the same bytes again and again. Small files are granted a
// little more.
constexpr std::uint64_t effort_a_byte = 1040, small_file = 256 << 10;

class DeepChecks final : public Visitor {
 public:
  DeepChecks(Image& image, const MappingWalk& walk)
      : image_(image),
        walk_(walk),
        g_(*image.geometry),
        naming_(image, walk.trees()),
        codec_(image.header.compression()),
        workers_(std::max(walk.jobs(), 1U)),
        most_(base::saturating_mul(image.device.allocated() + small_file, effort_a_byte)) {}

  void owned(const Group& group, std::span<const Owned> items, unsigned worker) override {
    for (const auto& item : items) {
      if (image_.progress.stop_requested()) return;
      if (item.run.type == EntryType::compressed) {
        if (codec_ && !walk_.rules().external_data) decode(group, item, workers_[worker]);
      } else if (item.run.type == EntryType::data && !walk_.rules().external_data) {
        read(group, item, workers_[worker]);
      }
    }
  }

  // Whether something was left out because the image asks for more than any sound one can.
  [[nodiscard]] bool exhausted() const { return exhausted_.load(std::memory_order_relaxed); }

 private:
  struct Worker {
    format::Decoder decoder;
    std::vector<std::byte> payload, cluster;
  };

  // False when that much more would be too much.
  bool afford(std::uint64_t bytes) {
    if (spent_.load(std::memory_order_relaxed) >= most_) exhausted_.store(true, std::memory_order_relaxed);
    if (exhausted()) return false;
    spent_.fetch_add(bytes, std::memory_order_relaxed);
    return true;
  }

  void report(RuleId rule, const Group& group, const Owned& item, std::uint32_t entry, HostOffset host,
              std::uint64_t length, std::uint32_t count = 1, std::string detail = {}) {
    const base::GuestOffset guest{group.l1_index * g_.span() + (std::uint64_t{entry} << g_.cluster_bits())};
    if (image_.findings.only_counts(rule, {host, guest}, rule->severity, count)) return;
    Finding f{rule};
    const auto& use = group.uses[item.use];
    f.where = naming_.l2_entry(group, use, entry);
    f.host = {host, length};
    f.snapshot = naming_.layer(walk_.trees()[use.trees.front()]);
    f.count = count;
    f.detail = std::move(detail);
    naming_.put_guest(f, use, guest, std::uint64_t{count} << g_.cluster_bits());
    for (const auto other : item.uses)
      if (other != item.use)
        naming_.put_guest(f, group.uses[other], guest, std::uint64_t{count} << g_.cluster_bits());
    image_.report(std::move(f));
  }

  void decode(const Group& group, const Owned& item, Worker& worker) {
    using Status = Decoded::Status;
    const auto& run = item.run;
    const format::CompressedRange range{HostOffset{run.host}, run.sectors};
    if (run.host >= image_.eof || !afford(range.length())) return;
    worker.cluster.resize(static_cast<std::size_t>(g_.cluster_size()));
    const auto bytes = fetch(worker, group, item, range.length());
    if (!bytes) return;
    const auto decoded = worker.decoder.decode(*codec_, *bytes, worker.cluster);
    spent_.fetch_add(decoded.produced, std::memory_order_relaxed);
    if (decoded.status == Status::ok) return;
    const auto blame = [&](RuleId rule, std::string detail = {}) {
      report(rule, group, item, run.first, range.offset, range.length(), 1, std::move(detail));
    };
    const bool zstd = codec_ == format::Compression::zstd;
    // No stream of either codec begins with zeros; what follows may be the next stream's bytes.
    if (base::all_zero(bytes->first(std::min<std::size_t>(bytes->size(), 16)))) {
      const auto extent = image_.device.extent(run.host);  // whole holes have been reported without reading
      if (!extent.hole || extent.end < std::min(run.host + range.length(), image_.eof))
        blame("compressed/payload-hole"_rule);
      return;
    }
    switch (decoded.status) {
      case Status::ok: return;
      case Status::overlong:
        return blame(zstd ? "compressed/overlong-zstd"_rule : "compressed/overlong-deflate"_rule);
      case Status::short_output:
        return blame("compressed/short"_rule,
                     fmt::format("{} of {} bytes", decoded.produced, g_.cluster_size()));
      case Status::checksum: return blame("compressed/zstd-checksum"_rule);
      case Status::window_too_big: return blame("compressed/zstd-window"_rule);
      case Status::truncated: {
        // Does the stream go on behind the range?
        const std::uint64_t more = range.length() + g_.cluster_size();
        if (const auto longer = fetch(worker, group, item, more);
            longer && longer->size() > bytes->size() &&
            worker.decoder.decode(*codec_, *longer, worker.cluster).status == Status::ok)
          return blame("compressed/sector-count-low"_rule);
        return blame("compressed/undecodable"_rule, "the stream is cut off");
      }
      case Status::garbage: break;
    }
    if (!zstd && format::looks_like_zlib(*bytes)) return blame("compressed/zlib-wrapper"_rule);
    const auto other = zstd ? format::Compression::deflate : format::Compression::zstd;
    if (worker.decoder.decode(other, *bytes, worker.cluster).produced == worker.cluster.size())
      return blame("compressed/codec-mismatch"_rule);
    blame("compressed/undecodable"_rule);
  }

  // The first `length` bytes of a stream, as far as the file has them.
  std::optional<base::ConstBytes> fetch(Worker& worker, const Group& group, const Owned& item,
                                        std::uint64_t length) {
    worker.payload.resize(static_cast<std::size_t>(std::min(length, image_.eof - item.run.host)));
    const auto read = image_.device.read(item.run.host, worker.payload);
    if (read.os_error == 0)
      return base::ConstBytes(worker.payload).first(static_cast<std::size_t>(read.valid));
    report("file/io-error"_rule, group, item, item.run.first, HostOffset{item.run.host},
           worker.payload.size(), 1, std::generic_category().message(read.os_error));
    return std::nullopt;
  }

  void read(const Group& group, const Owned& item, Worker& worker) {
    const auto& run = item.run;
    const std::uint32_t at_once =
        static_cast<std::uint32_t>(std::max<std::uint64_t>((1ULL << 20) >> g_.cluster_bits(), 1));
    for (std::uint32_t done = 0; done < run.count && !image_.progress.stop_requested(); done += at_once) {
      const std::uint32_t n = std::min(at_once, run.count - done);
      const std::uint64_t host = run.host + (std::uint64_t{done} << g_.cluster_bits());
      if (host >= image_.eof) return;
      const std::uint64_t length = std::uint64_t{n} << g_.cluster_bits();
      const auto extent = image_.device.extent(host);
      if (extent.hole && extent.end >= std::min(host + length, image_.eof)) {  // nothing to read
        image_.progress.advance(length);
        continue;
      }
      if (!afford(length)) return;
      worker.payload.resize(static_cast<std::size_t>(length));
      const auto got = image_.device.read(host, worker.payload);
      image_.progress.advance(worker.payload.size());
      if (got.os_error != 0)
        report("file/io-error"_rule, group, item, run.first + done, HostOffset{host}, worker.payload.size(),
               n, std::generic_category().message(got.os_error));
      else if (group.l1_index == 0 && run.first + done == 0 && first_sector_allocated(run) &&
               !format_by_magic(worker.payload).empty() && image_.header.v2.crypt_method == 0)
        report("security/guest-sector-magic"_rule, group, item, 0, HostOffset{host}, g_.cluster_size());
    }
  }

  [[nodiscard]] bool first_sector_allocated(const EntryRun& run) const {
    return !g_.extended_l2() || (format::Subclusters{run.subclusters}.allocated() & 1) != 0;
  }

  Image& image_;
  const MappingWalk& walk_;
  const format::Geometry g_;
  Naming naming_;
  const std::optional<format::Compression> codec_;
  std::vector<Worker> workers_;
  const std::uint64_t most_;
  std::atomic<std::uint64_t> spent_{0};
  std::atomic<bool> exhausted_{false};
};

}  // namespace

base::Result<void> check_deep(Image& image, MappingWalk& walk) {
  image.progress.expect(image.device.allocated());
  DeepChecks checks(image, walk);
  if (auto walked = walk.run(checks); !walked) return walked;
  if (checks.exhausted())
    image.report(Finding{"refcount/incomplete"_rule}.at("l2").saying(
        "not every data cluster was read, because too many entries name the same bytes"));
  return {};
}

}  // namespace cowvet::analyzer
