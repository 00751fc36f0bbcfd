#include "tests/crash/operations.hpp"

#include <algorithm>

namespace cowvet::crash {

namespace {

using base::GuestOffset;
using engine::Unmap;

// What a raw backing file shows: no two sectors are alike.
class Pattern final : public engine::Disk {
 public:
  [[nodiscard]] std::uint64_t size() const override { return 40 << 10; }
  [[nodiscard]] bool writable() const override { return false; }
  [[nodiscard]] base::Result<void> read(GuestOffset at, base::MutableBytes into) const override {
    for (std::size_t i = 0; i < into.size(); ++i)
      into[i] = static_cast<std::byte>((at.raw() + i) / 509 * 7 + 3);
    return {};
  }
  [[nodiscard]] base::Result<engine::Extent> extent(GuestOffset, std::uint64_t most) const override {
    return engine::Extent{.length = most, .allocated = true, .data = true};
  }
  [[nodiscard]] base::Result<void> write(GuestOffset, base::ConstBytes) override { return refuse(); }
  [[nodiscard]] base::Result<void> zero(GuestOffset, std::uint64_t, Unmap) override { return refuse(); }
  [[nodiscard]] base::Result<void> discard(GuestOffset, std::uint64_t) override { return refuse(); }
  [[nodiscard]] base::Result<void> flush() override { return {}; }

 private:
  static base::Result<void> refuse() { return base::fail(base::ErrorKind::usage, "a pattern"); }
};

std::vector<std::byte> filled(std::uint64_t length, int value) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(length), static_cast<std::byte>(value));
  return bytes;
}

// Places are parts of the disk, so that they mean the same in every configuration.
base::Result<void> write(Session& s, std::uint64_t part, std::uint64_t parts, std::uint64_t skew,
                         std::uint64_t length, int value) {
  auto& disk = s.disk();
  const std::uint64_t at = std::min(disk.size() * part / parts / 512 * 512 + skew, disk.size());
  return disk.write(GuestOffset{at}, filled(std::min(length, disk.size() - at), value));
}
std::uint64_t clusters(Session& s, std::uint64_t n) { return n * s.disk().geometry().cluster_size(); }

base::Result<void> compressed(Session& s, std::uint64_t first, std::uint64_t count, int value) {
  auto& disk = s.disk();
  const auto cs = disk.geometry().cluster_size();
  const std::uint64_t at = std::min(first * cs, disk.size() / cs * cs);
  return disk.write_compressed(GuestOffset{at}, filled(std::min(count * cs, disk.size() - at), value));
}
base::Result<void> snapshot(Session& s, std::size_t from_end,
                            base::Result<void> (engine::Qcow2Disk::*what)(std::string_view)) {
  const auto list = s.disk().snapshots();
  if (list.size() <= from_end) return base::fail(base::ErrorKind::usage, "there is none");
  return (s.disk().*what)(from_end == 0 ? list.back().id : list.front().id);
}

}  // namespace

Session::Session(storage::Device& device, bool backing)
    : device_(device), backing_(backing ? std::make_shared<Pattern>() : nullptr) {}

base::Result<void> Session::open(bool writable) {
  disk_.reset();
  auto opened = engine::Qcow2Disk::open(device_, {.writable = writable, .backing = backing_});
  if (!opened) return std::unexpected(opened.error());
  disk_ = std::move(*opened);
  return {};
}

std::vector<Configuration> configurations() {
  const std::string start = "data 0..5\nzero 9\n";
  return {
      {"plain", "image size=48K cluster_size=512\n" + start + "compressed 12..14\ndata 70\n"},
      {"snapshots", "image size=48K cluster_size=512\n" + start +
                        "snapshot name=a\ndata 2..3\nsnapshot name=b\ndata 4,70\n"},
      {"1 bit", "image size=48K cluster_size=512 refcount_bits=1\n" + start},
      {"64 bits", "image size=48K cluster_size=512 refcount_bits=64\n" + start + "snapshot name=a\ndata 1\n"},
      {"64 KiB", "image size=256K cluster_size=64K\nfeature_names\ndata 0..1\nsnapshot name=a\ndata 1\n"},
      {"extended",
       "image size=128K cluster_size=16K extended_l2\ndata 0..1\nsubclusters 3 allocated=0..9\n"
       "snapshot name=a\ndata 1\n"},
      {"compressed", "image size=64K cluster_size=4K\ncompressed 0..7\nsnapshot name=a\ncompressed 2..3\n"},
      {"backing",
       "image size=48K cluster_size=512\nbacking \"below\" format=raw\n" + start +
           "snapshot name=a\ndata 1\n",
       true},
      {"lazy", "image size=48K cluster_size=512 lazy_refcounts\n" + start + "snapshot name=a\ndata 1\n"},
  };
}

std::vector<Operation> operations() {
  using Disk = engine::Qcow2Disk;
  return {
      {"write new", [](Session& s) { return write(s, 1, 2, 100, 1500, 0x11); }},
      {"write over", [](Session& s) { return write(s, 0, 1, 700, 600, 0x12); }},
      {"write whole clusters",
       [](Session& s) { return s.disk().write(GuestOffset{0}, filled(clusters(s, 2), 0x13)); }},
      {"write the end", [](Session& s) { return write(s, 3, 4, 0, 16 << 10, 0x14); }},
      {"zero", [](Session& s) { return s.disk().zero(GuestOffset{700}, clusters(s, 2), Unmap::yes); }},
      {"zero, keeping space",
       [](Session& s) { return s.disk().zero(GuestOffset{0}, clusters(s, 2), Unmap::no); }},
      {"discard", [](Session& s) { return s.disk().discard(GuestOffset{0}, clusters(s, 2)); }},
      {"discard all", [](Session& s) { return s.disk().discard(GuestOffset{0}, s.disk().size()); }},
      {"compressed new", [](Session& s) { return compressed(s, 3, 1, 0x15); }},
      {"compressed over", [](Session& s) { return compressed(s, 0, 2, 0x16); }},
      {"snapshot",
       [](Session& s) -> base::Result<void> {
         if (auto made = s.disk().create_snapshot("new", 1, 2); !made) return std::unexpected(made.error());
         return {};
       },
       true},
      {"apply first", [](Session& s) { return snapshot(s, 1, &Disk::apply_snapshot); }, true},
      {"apply last", [](Session& s) { return snapshot(s, 0, &Disk::apply_snapshot); }, true},
      {"delete first", [](Session& s) { return snapshot(s, 1, &Disk::remove_snapshot); }, true},
      {"delete last", [](Session& s) { return snapshot(s, 0, &Disk::remove_snapshot); }, true},
      {"grow", [](Session& s) { return s.disk().resize(s.disk().size() * 2); }, true},
      {"shrink", [](Session& s) { return s.disk().resize(s.disk().size() / 1024 * 512); }, true},
      {"add bitmap", [](Session& s) { return s.disk().add_bitmap("bits", 512, true); }, true},
      {"remove bitmap", [](Session& s) { return s.disk().remove_bitmap("bits"); }, true},
      {"flush", [](Session& s) { return s.disk().flush(); }, true},
      {"reopen",
       [](Session& s) -> base::Result<void> {
         if (auto closed = s.disk().close(); !closed) return closed;
         return s.open(true);
       },
       true},
      {"rename backing",
       [](Session& s) -> base::Result<void> {
         if (!s.disk().backing_name()) return base::fail(base::ErrorKind::usage, "none");
         return s.disk().set_backing_file("another", "raw");
       }},
      {"widen refcounts",
       [](Session& s) {
         base::Progress progress;
         return s.disk().set_refcount_order(s.disk().geometry().refcount_order() == 6 ? 4 : 6, progress);
       },
       true},
      {"lazy refcounts",
       [](Session& s) { return s.disk().set_lazy_refcounts(!s.disk().header().lazy_refcounts()); }},
  };
}

}  // namespace cowvet::crash
