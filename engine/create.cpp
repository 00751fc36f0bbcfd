// Writing a new image, in an order that never lets a half-made one pass for whole:
// 1. The old content goes: until the last step the file does not begin like an image.
// 2. Tables, key material and preallocated space, then all but the first sector of the header; a flush.
// 3. The first sector, in one write; a flush.
#include "engine/create.hpp"

#include <algorithm>
#include <vector>

#include "engine/new_header.hpp"
#include "engine/new_image.hpp"
#include "format/entries.hpp"
#include "format/refcounts.hpp"

namespace cowvet::engine {

namespace {

constexpr std::uint64_t write_bytes = 1 << 20;  // written at a time
using format::limits::sector;

class Creation {
 public:
  Creation(storage::Device& device, storage::Device* data_file, const CreateOptions& options,
           const NewImage& image, base::Progress& progress)
      : device_(device), data_file_(data_file), options_(options), image_(image), progress_(progress) {}

  base::Result<void> run();

 private:
  using Step = base::Result<void> (Creation::*)();

  [[nodiscard]] std::uint64_t cluster_size() const { return image_.geometry.cluster_size(); }
  [[nodiscard]] bool encrypted() const { return options_.encrypt.has_value(); }

  base::Result<void> make_cipher();
  base::Result<void> give_up_old_content();
  base::Result<void> write_refcount_table();
  base::Result<void> write_refcount_blocks();
  base::Result<void> write_l1();
  base::Result<void> write_luks();
  base::Result<void> write_l2();
  base::Result<void> take_space();
  base::Result<void> write_header();

  // Writes `count` big-endian words, entry(i) each, and zeros up to the end of the part.
  template <class Entry>
  base::Result<void> write_table(const Part& part, std::uint64_t count, const Entry& entry);
  template <class Fill>
  base::Result<void> write_pieces(storage::Device& device, std::uint64_t begin, std::uint64_t end,
                                  const Fill& fill);
  [[nodiscard]] std::uint64_t l2_word(std::uint64_t index) const;

  storage::Device& device_;
  storage::Device* data_file_;
  const CreateOptions& options_;
  const NewImage& image_;
  base::Progress& progress_;
  NewLuks luks_;
  std::shared_ptr<const Cipher> cipher_;
};

base::Result<void> Creation::run() {
  const std::uint64_t l1 = image_.l2.clusters == 0 ? 0 : image_.l1.clusters;  // else it is not written
  progress_.expect(image_.offset(1 + image_.refcount_table.clusters + image_.refcount_blocks.clusters + l1 +
                                 image_.luks.clusters + image_.l2.clusters));
  for (const Step step :
       {&Creation::make_cipher, &Creation::give_up_old_content, &Creation::write_refcount_table,
        &Creation::write_refcount_blocks, &Creation::write_l1, &Creation::write_luks, &Creation::write_l2,
        &Creation::take_space, &Creation::write_header})
    if (auto done = (this->*step)(); !done) return done;
  return {};
}

base::Result<void> Creation::make_cipher() {
  if (!encrypted()) return {};
  if (options_.encrypt->method == format::CryptMethod::aes) {
    auto cipher = open_aes(options_.encrypt->secret);
    if (!cipher) return std::unexpected(cipher.error());
    cipher_ = std::move(*cipher);
    return {};
  }
  auto luks = make_luks(*options_.encrypt);
  if (!luks) return std::unexpected(luks.error());
  luks_ = std::move(*luks);
  cipher_ = luks_.cipher;
  return {};
}

// A file becomes all zeros, as long as the image will be. A block device keeps its length, and what is not written.
base::Result<void> Creation::give_up_old_content() {
  const std::uint64_t length = image_.offset(image_.end);
  if (!device_.is_block_device()) {
    if (auto emptied = device_.resize(0); !emptied) return emptied;
    if (auto grown = device_.resize(length); !grown) return grown;
  } else if (device_.size() < length) {
    return base::fail(base::ErrorKind::limit,
                      "the block device is too small for the image: use a larger one");
  } else {
    if (auto zeroed = device_.zero(0, length); !zeroed) return zeroed;
    if (auto flushed = device_.flush(); !flushed) return flushed;
  }
  if (data_file_ == nullptr) return {};
  if (data_file_->is_block_device()) {
    if (data_file_->size() < image_.size)
      return base::fail(base::ErrorKind::limit, "the data file's block device is too small for the disk");
    return data_file_->zero(0, image_.size);
  }
  if (auto emptied = data_file_->resize(0); !emptied) return emptied;
  return data_file_->resize(image_.size);
}

template <class Fill>
base::Result<void> Creation::write_pieces(storage::Device& device, std::uint64_t begin, std::uint64_t end,
                                          const Fill& fill) {
  std::vector<std::byte> buffer(static_cast<std::size_t>(std::min(write_bytes, end - begin)));
  for (std::uint64_t at = begin; at < end;) {
    if (progress_.stop_requested())
      return base::fail(base::ErrorKind::cancelled, "stopped: the image is not complete");
    const auto bytes =
        base::MutableBytes(buffer).first(static_cast<std::size_t>(std::min(write_bytes, end - at)));
    if (auto filled = fill(at - begin, bytes); !filled) return filled;
    if (auto put = device.write(at, bytes); !put) return put;
    at += bytes.size();
    progress_.advance(bytes.size());
  }
  return {};
}

template <class Entry>
base::Result<void> Creation::write_table(const Part& part, std::uint64_t count, const Entry& entry) {
  constexpr std::uint64_t width = sizeof(std::uint64_t);
  return write_pieces(device_, image_.offset(part.first), image_.offset(part.end()),
                      [&](std::uint64_t offset, base::MutableBytes bytes) -> base::Result<void> {
                        for (std::size_t at = 0; at < bytes.size(); at += width) {
                          const std::uint64_t index = (offset + at) / width;
                          base::store_be<std::uint64_t, 0>(bytes.subspan(at).first<width>(),
                                                           index < count ? entry(index) : 0);
                        }
                        return {};
                      });
}

base::Result<void> Creation::write_refcount_table() {
  return write_table(image_.refcount_table, image_.refcount_blocks.clusters, [&](std::uint64_t block) {
    return image_.offset(image_.refcount_blocks.first + block);
  });
}

// Every cluster of the file is in use, once.
base::Result<void> Creation::write_refcount_blocks() {
  const std::uint64_t entries = image_.geometry.block_entries();
  std::vector<std::byte> block(static_cast<std::size_t>(cluster_size()));
  for (std::uint64_t i = 0; i < std::min(entries, image_.end); ++i)
    format::set_refcount(block, image_.geometry.refcount_order(), i, 1);
  for (std::uint64_t b = 0; b < image_.refcount_blocks.clusters; ++b) {
    if (progress_.stop_requested())
      return base::fail(base::ErrorKind::cancelled, "stopped: the image is not complete");
    const std::uint64_t first = b * entries;
    if (b > 0 && image_.end - first < entries)
      for (std::uint64_t i = image_.end - first; i < entries; ++i)
        format::set_refcount(block, image_.geometry.refcount_order(), i, 0);
    if (auto put = device_.write(image_.offset(image_.refcount_blocks.first + b), block); !put) return put;
    progress_.advance(block.size());
  }
  return {};
}

base::Result<void> Creation::write_l1() {
  if (image_.l2.clusters == 0) return {};  // all zeros, as the file is
  return write_table(image_.l1, image_.l2.clusters, [&](std::uint64_t index) {
    return format::copied_flag | image_.offset(image_.l2.first + index);
  });
}

base::Result<void> Creation::write_luks() {
  if (luks_.header.empty()) return {};
  progress_.advance(image_.offset(image_.luks.clusters));
  return device_.write(image_.offset(image_.luks.first), luks_.header);
}

// Word `index` of all L2 tables together. Preallocated clusters read as zeros: because the file does, or,
// where ciphertext must stand there, because they say so (version 2 can't say it: take_space() encrypts
// zeros).
std::uint64_t Creation::l2_word(std::uint64_t index) const {
  const bool extended = image_.geometry.extended_l2();
  const std::uint64_t cluster = extended ? index / 2 : index;
  // What others write to a raw data file must be seen: all of it is allocated. Ciphertext is not for others.
  if (extended && index % 2 == 1)
    return options_.data_file_raw && !encrypted() ? format::l2_subcluster_word["allocated"].mask() : 0;
  const std::uint64_t host =
      options_.data_file ? cluster * cluster_size() : image_.offset(image_.data.first + cluster);
  const bool says_zero = encrypted() && options_.version >= 3 && !extended;
  return format::copied_flag | host | (says_zero ? format::zero_flag : 0);
}

base::Result<void> Creation::write_l2() {
  const std::uint64_t words = image_.data_clusters * image_.geometry.l2_entry_size() / sizeof(std::uint64_t);
  return write_table(image_.l2, words, [&](std::uint64_t index) { return l2_word(index); });
}

base::Result<void> Creation::take_space() {
  if (image_.data_clusters == 0) return {};
  storage::Device& device = data_file_ != nullptr ? *data_file_ : device_;
  const std::uint64_t begin = data_file_ != nullptr ? 0 : image_.offset(image_.data.first);
  const std::uint64_t end = data_file_ != nullptr ? image_.size : image_.offset(image_.data.end());
  if (encrypted() && options_.version < 3) {
    progress_.expect(end - begin);
    const bool by_host = cipher_->method() == format::CryptMethod::luks;
    return write_pieces(device, begin, end, [&](std::uint64_t offset, base::MutableBytes bytes) {
      std::ranges::fill(bytes, std::byte{0});
      return cipher_->encrypt((by_host ? begin + offset : offset) / sector, bytes);
    });
  }
  if (image_.preallocation == Preallocation::falloc) return device.preallocate(begin, end - begin);
  if (image_.preallocation != Preallocation::full) return {};
  progress_.expect(end - begin);
  return write_pieces(device, begin, end,
                      [](std::uint64_t, base::MutableBytes) -> base::Result<void> { return {}; });
}

base::Result<void> Creation::write_header() {
  const auto header = new_header(image_, options_);
  if (!header) return std::unexpected(header.error());
  const auto bytes = base::ConstBytes(*header);
  if (bytes.size() > sector)
    if (auto put = device_.write(sector, bytes.subspan(sector)); !put) return put;
  if (data_file_ != nullptr)
    if (auto flushed = data_file_->flush(); !flushed) return flushed;
  if (auto flushed = device_.flush(); !flushed) return flushed;
  if (auto put = device_.write(0, bytes.first(sector)); !put) return put;
  progress_.advance(cluster_size());
  return device_.flush();
}

}  // namespace

base::Result<void> create_qcow2(storage::Device& device, storage::Device* data_file,
                                const CreateOptions& options, base::Progress& progress) {
  const auto image = plan_image(options);
  if (!image) return std::unexpected(image.error());
  if (image->offset(image->refcount_table.clusters) > format::limits::max_refcount_table)
    return base::fail(base::ErrorKind::usage,
                      "the refcount table would become too large: use a larger cluster_size");
  if (auto header = new_header(*image, options); !header) return std::unexpected(header.error());
  if (options.data_file.has_value() != (data_file != nullptr))
    return base::fail(base::ErrorKind::usage, "an external data file needs a name and a device");
  return Creation(device, data_file, options, *image, progress).run();
}

}  // namespace cowvet::engine
