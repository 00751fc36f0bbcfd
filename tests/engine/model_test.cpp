// Random operations against a flat array of bytes, over many geometries. After each step the disk reads as
// the array does; every few steps, and after each reopening, the check finds nothing.
#include <algorithm>
#include <map>
#include <random>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/engine/images.hpp"

namespace cowvet::engine {
namespace {

using namespace testing_images;
using Bytes = std::vector<std::byte>;

struct Setting {
  std::string name, recipe;
  bool backing = false;
  bool compressible = true;
  bool zeros = true;  // version 3
};

class Model : public testing::TestWithParam<Setting> {
 protected:
  void start() {
    const auto built = build(GetParam().recipe);
    const auto bytes = built.file.bytes();
    must(device_.write(0, bytes));
    if (built.data_file) {
      data_.emplace(built.data_file->bytes());
    }
    reopen();
    content_ = content(*disk_);
    first_size_ = content_.size();
    saved_.clear();
    for (const auto& s : disk_->snapshots()) saved_[s.id] = content(*must(disk_->snapshot_disk(s.id)));
  }
  void reopen() {
    disk_.reset();
    OpenOptions options;
    options.writable = true;
    options.data_file = data_ ? &*data_ : nullptr;
    options.cache_bytes = 64 << 10;
    if (GetParam().backing) options.backing = std::make_shared<PatternDisk>(300000);
    disk_ = must(Qcow2Disk::open(device_, options));
  }
  std::uint64_t number(std::uint64_t most) { return random_() % (most + 1); }
  // A range with a taste for the edges of clusters.
  std::pair<std::uint64_t, std::uint64_t> range(std::uint64_t most) {
    const std::uint64_t size = content_.size();
    const std::uint64_t unit =
        number(1) == 0 ? disk_->geometry().cluster_size() : disk_->geometry().subcluster_size();
    std::uint64_t at = number(size - 1);
    if (number(2) != 0) at = at / unit * unit;
    std::uint64_t length = 1 + number(number(1) == 0 ? most : 700);
    if (number(2) == 0) length = (length / unit + 1) * unit;
    return {at, std::min(length, size - at)};
  }
  Bytes noise(std::size_t length) {
    Bytes bytes(length);
    const auto seed = static_cast<unsigned>(random_());
    const unsigned period = number(1) == 0 ? 7 : 100003;
    for (std::size_t i = 0; i < length; ++i)
      bytes[i] = static_cast<std::byte>(i % period * (seed | 1) >> 3 ^ seed);
    return bytes;
  }
  void step();
  void expect_equal(const std::string& what) {
    const auto now = content(*disk_);
    for (const auto& [id, old] : saved_)
      ASSERT_TRUE(content(*must(disk_->snapshot_disk(id))) == old) << what << ": snapshot " << id << "\n"
                                                                   << story_;
    if (now == content_) return;
    const auto [a, b] = std::ranges::mismatch(now, content_);
    FAIL() << what << ": differs at " << a - now.begin() << " of " << now.size() << "\n" << story_;
  }

  storage::MemoryDevice device_;
  std::optional<storage::MemoryDevice> data_;
  std::unique_ptr<Qcow2Disk> disk_;
  Bytes content_;
  std::uint64_t first_size_ = 0;
  std::map<std::string, Bytes> saved_;  // snapshots by id
  std::size_t most_snapshots_ = 4;
  std::string story_;
  std::mt19937_64 random_;
};

void Model::step() {
  const auto cs = disk_->geometry().cluster_size();
  const auto kind = number(16);
  if (kind <= 3) {
    const auto [at, length] = range(5 * cs);
    const auto bytes = noise(length);
    story_ += fmt::format("write {} +{}\n", at, length);
    must(disk_->write(base::GuestOffset{at}, bytes));
    std::ranges::copy(bytes, content_.begin() + static_cast<std::ptrdiff_t>(at));
  } else if (kind <= 5) {
    const auto [at, length] = range(9 * cs);
    const auto unmap = number(1) == 0 ? Unmap::yes : Unmap::no;
    story_ += fmt::format("zero {} +{} {}\n", at, length, unmap == Unmap::yes);
    must(disk_->zero(base::GuestOffset{at}, length, unmap));
    std::fill_n(content_.begin() + static_cast<std::ptrdiff_t>(at), length, std::byte{0});
  } else if (kind <= 7) {
    auto [at, length] = range(9 * cs);
    story_ += fmt::format("discard {} +{}\n", at, length);
    must(disk_->discard(base::GuestOffset{at}, length));
    const std::uint64_t first = (at + cs - 1) / cs * cs;
    const std::uint64_t last = at + length == content_.size() ? content_.size() : (at + length) / cs * cs;
    for (std::uint64_t i = first; i < last; ++i) content_[i] = std::byte{0};
  } else if (kind <= 9 && GetParam().compressible) {
    const std::uint64_t at = number(content_.size() - 1) / cs * cs;
    const auto bytes = noise(std::min<std::uint64_t>((1 + number(3)) * cs, content_.size() - at));
    story_ += fmt::format("compressed {} +{}\n", at, bytes.size());
    must(disk_->write_compressed(base::GuestOffset{at}, bytes));
    std::ranges::copy(bytes, content_.begin() + static_cast<std::ptrdiff_t>(at));
  } else if (kind == 10) {
    story_ += "flush\n";
    must(disk_->flush());
    if (!disk_->header().dirty()) {
      EXPECT_EQ(findings(device_, Leaks::allowed), "") << story_;
    }
  } else if (kind == 12 && !data_) {
    if (saved_.size() >= most_snapshots_) return;
    const auto info = disk_->create_snapshot(fmt::format("s{}", saved_.size()), 1, 2);
    story_ += fmt::format("snapshot {}\n", info ? info->id : info.error().message);
    if (!info) {  // narrow refcounts can't count so many owners
      ASSERT_EQ(info.error().kind, base::ErrorKind::limit) << info.error().message;
      return;
    }
    saved_[info->id] = content_;
  } else if (kind == 13 && !saved_.empty()) {
    const auto which = std::next(saved_.begin(), static_cast<std::ptrdiff_t>(number(saved_.size() - 1)));
    story_ += fmt::format("apply {}\n", which->first);
    const auto done = disk_->apply_snapshot(which->first);
    if (!done) {
      ASSERT_EQ(done.error().kind, base::ErrorKind::limit) << done.error().message;
      return;
    }
    content_ = which->second;
  } else if (kind == 14 && !saved_.empty() && number(1) == 0) {
    const auto which = std::next(saved_.begin(), static_cast<std::ptrdiff_t>(number(saved_.size() - 1)));
    story_ += fmt::format("remove {}\n", which->first);
    must(disk_->remove_snapshot(which->first));
    saved_.erase(which);
  } else if (kind == 15 && (GetParam().zeros || disk_->snapshots().empty())) {
    const auto size = (1 + number(first_size_ / 512 * 5 / 4)) * 512;
    const auto mode = static_cast<Preallocation>(number(3));
    story_ += fmt::format("resize {} {}\n", size, static_cast<int>(mode));
    must(disk_->resize(size, mode));
    content_.resize(size);
  } else if (number(3) == 0) {
    story_ += "close\n";
    must(disk_->close());
    EXPECT_EQ(findings(device_, Leaks::none, true), "") << story_;
    reopen();
  }
}

TEST_P(Model, agrees_with_a_flat_array) {
  for (unsigned round = 0; round < 6; ++round) {
    random_.seed(round);
    must(device_.resize(0));
    story_.clear();
    start();
    for (int i = 0; i < 60 && !HasFailure(); ++i) {
      try {
        step();
      } catch (const std::exception& error) {
        FAIL() << error.what() << "\n" << story_;
      }
      expect_equal("in use");
    }
    if (HasFailure()) return;
    must(disk_->close());
    EXPECT_EQ(findings(device_, Leaks::none, true), "") << story_;
    reopen();
    EXPECT_EQ(qemu_objects(device_, *disk_), "") << story_;
    expect_equal("reopened");
    if (HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(
    all, Model,
    testing::Values(
        Setting{"clusters_512", "image size=200K cluster_size=512\ndata 3..9\nzero 12\ncompressed 20..22"},
        Setting{"clusters_4k",
                "image size=900K cluster_size=4K\ndata 3..9\ncompressed 20..30\nsnapshot name=a\ndata 5"},
        Setting{"clusters_64k", "image size=1M cluster_size=64K\ncompressed 1..4"},
        Setting{"odd_size", "image size=1000448 cluster_size=64K\ndata 2"},
        Setting{"zstd", "image size=300K cluster_size=4K compression=zstd"},
        Setting{"backing", "image size=500K cluster_size=4K\nbacking \"b\" format=raw\ndata 3..9\nzero 12",
                true},
        Setting{"version_2", "image version=2 size=500K cluster_size=4K\ndata 3..9\nsnapshot name=a\ndata 4",
                false, true, false},
        Setting{"version_2_backing",
                "image version=2 size=500K cluster_size=4K\nbacking \"b\" format=raw\ndata 3..9", true, true,
                false},
        Setting{"refcounts_1",
                "image size=200K cluster_size=512 refcount_bits=1\ndata 3..9\ncompressed 20..22"},
        Setting{"refcounts_2",
                "image size=200K cluster_size=512 refcount_bits=2\ndata 3..9\ncompressed 20..22"},
        Setting{"refcounts_64",
                "image size=200K cluster_size=512 refcount_bits=64\ndata 3..9\ncompressed 20..22"},
        Setting{"extended",
                "image size=1M cluster_size=16K extended_l2\nsubclusters 3 allocated=0..3 "
                "zero=4..7\ncompressed 9"},
        Setting{"extended_backing",
                "image size=1M cluster_size=16K extended_l2\nbacking \"b\" format=raw\nsubclusters 3 "
                "allocated=0..3 zero=4..7\n"
                "snapshot name=a\ndata 5",
                true},
        Setting{"data_file", "image size=500K cluster_size=4K\ndatafile \"d\"\ndata 3..9", false, false},
        Setting{"data_file_raw", "image size=500K cluster_size=4K\ndatafile \"d\" raw\ndata 3..9", false,
                false},
        Setting{"data_file_extended",
                "image size=500K cluster_size=16K extended_l2\ndatafile \"d\"\ndata 3..9", false, false},
        Setting{"lazy", "image size=500K cluster_size=4K lazy_refcounts\ndata 3..9"}),
    [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace cowvet::engine
