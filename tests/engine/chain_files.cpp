#include "tests/engine/chain_files.hpp"

#include <algorithm>

#include "storage/wrapper.hpp"
#include "tests/engine/images.hpp"
#include "tests/engine/replay.hpp"

namespace cowvet::engine::testing_images {

namespace {

using storage::Event;

// A device of its own for each opening.
class Handle final : public storage::Wrapper {
 public:
  Handle(Device& under, bool writable, std::function<void(Event)> done)
      : Wrapper(under), writable_(writable), done_(std::move(done)) {}

  [[nodiscard]] base::Result<void> write(std::uint64_t offset, base::ConstBytes bytes) override {
    return noted(under().write(offset, bytes), {Event::Kind::write, offset, {bytes.begin(), bytes.end()}});
  }
  [[nodiscard]] base::Result<void> resize(std::uint64_t size) override {
    return noted(under().resize(size), {Event::Kind::resize, size, {}});
  }
  [[nodiscard]] base::Result<void> flush() override {
    return noted(under().flush(), {Event::Kind::flush, 0, {}});
  }
  [[nodiscard]] base::Result<void> discard(std::uint64_t offset, std::uint64_t length) override {
    return noted(under().discard(offset, length), {Event::Kind::discard, offset, {}, length});
  }
  [[nodiscard]] base::Result<void> zero(std::uint64_t offset, std::uint64_t length) override {
    return noted(under().zero(offset, length), {Event::Kind::zero, offset, {}, length});
  }

 private:
  base::Result<void> noted(base::Result<void> result, Event event) {
    if (!writable_) return read_only();
    if (result) done_(std::move(event));
    return result;
  }
  bool writable_;
  std::function<void(Event)> done_;
};

}  // namespace

OpenFile ChainFiles::open() {
  return [this](const std::string& name, bool writable) -> base::Result<std::unique_ptr<storage::Device>> {
    const auto found = files_.find(name);
    if (found == files_.end()) return base::fail(base::ErrorKind::not_found, "no such file: " + name);
    return std::make_unique<Handle>(*found->second, writable, [this, name](Event event) {
      if (recording_) changes_.push_back({name, std::move(event)});
    });
  };
}

std::unique_ptr<OpenImage> ChainFiles::image(const std::string& name, ChainOptions options) {
  if (!options.secret) options.secret = "key";
  return must(open_image(name, options, open()));
}

std::vector<std::byte> ChainFiles::content(const std::string& name, const ChainOptions& options) {
  return testing_images::content(image(name, options)->disk());
}

void ChainFiles::make_raw(const std::string& name, std::vector<std::byte> bytes) {
  files_[name] = std::make_unique<storage::MemoryDevice>(std::move(bytes));
}

void ChainFiles::make(const std::string& name, const CreateOptions& options) {
  make_raw(name, {});
  if (options.data_file) make_raw(*options.data_file, {});
  base::Progress progress;
  must(create_qcow2(*files_[name], options.data_file ? files_[*options.data_file].get() : nullptr, options,
                    progress));
}

ChainFiles::State ChainFiles::state() const {
  State state;
  for (const auto& [name, file] : files_) state[name] = file->bytes();
  return state;
}

void ChainFiles::put(const State& state) {
  files_.clear();
  for (const auto& [name, bytes] : state) make_raw(name, bytes);
}

ChainFiles::State replay(ChainFiles::State state, std::span<const ChainFiles::Change> changes,
                         const std::function<bool(std::size_t)>& kept) {
  std::map<std::string, std::vector<std::size_t>> by_file;
  for (std::size_t i = 0; i < changes.size(); ++i) by_file[changes[i].file].push_back(i);
  for (const auto& [file, numbers] : by_file) {
    std::vector<Event> events;
    for (const auto i : numbers) events.push_back(changes[i].event);
    state[file] = replay(state[file], events, [&](std::size_t i) { return kept(numbers[i]); });
  }
  return state;
}

namespace {

std::uint64_t pick(std::mt19937& random, std::uint64_t below) { return random() % below; }

CreateOptions random_options(std::mt19937& random, const Variety& variety, const std::string& name) {
  CreateOptions o;
  const auto kind = pick(random, variety.small ? 3 : 7);
  o.cluster_size = variety.small ? (kind == 1 ? 1024 : 512) : std::uint64_t{512} << pick(random, 5);
  if (kind == 0) o.version = 2;
  if (kind == 3 || kind == 4) {
    o.extended_l2 = true;
    o.cluster_size = 16384;
  }
  if (kind == 5) o.data_file = name + ".data";
  if (kind == 6) o.encrypt = EncryptOptions{.method = format::CryptMethod::aes, .secret = variety.secret};
  const std::uint64_t sectors = variety.small ? 40 : 400;
  o.size = (sectors / 2 + pick(random, sectors)) * 512;
  return o;
}

void change_somehow(Qcow2Disk& disk, std::mt19937& random) {
  const std::uint64_t cs = disk.geometry().cluster_size();
  const bool streams = disk.header().v2.crypt_method == 0 && !disk.header().external_data_file();
  for (int i = 0; i < 8; ++i) {
    const std::uint64_t at = pick(random, disk.size() / 512) * 512;
    const std::uint64_t length = std::min(disk.size() - at, (1 + pick(random, 40)) * 512);
    const auto kind = pick(random, streams ? 6 : 5);
    std::vector<std::byte> bytes(length, static_cast<std::byte>(1 + pick(random, 255)));
    for (std::size_t k = 0; k < bytes.size(); k += 512) bytes[k] = static_cast<std::byte>(pick(random, 256));
    if (kind == 0)
      must(disk.zero(base::GuestOffset{at}, length, pick(random, 2) == 0 ? Unmap::yes : Unmap::no));
    if (kind == 1) must(disk.discard(base::GuestOffset{at}, length));
    if (kind >= 2 && kind <= 4) must(disk.write(base::GuestOffset{at}, bytes));
    if (kind != 5) continue;
    const std::uint64_t begin = at / cs * cs;
    bytes.resize(std::min(cs, disk.size() - begin));
    must(disk.write_compressed(base::GuestOffset{begin}, bytes));
  }
}

}  // namespace

void make_chain(ChainFiles& files, std::mt19937& random, const Variety& variety) {
  std::string below;
  for (std::size_t i = 0; i < variety.layers; ++i) {
    const auto name = layer_name(i);
    if (i == 0 && variety.raw_base) {
      std::vector<std::byte> bytes((10 + pick(random, variety.small ? 30 : 300)) * 512);
      for (auto& byte : bytes) byte = static_cast<std::byte>(pick(random, 256));
      files.make_raw(name, std::move(bytes));
    } else {
      auto options = random_options(random, variety, name);
      if (!below.empty()) {
        options.backing_file = below;
        options.backing_format = i == 1 && variety.raw_base ? "raw" : "qcow2";
      }
      files.make(name, options);
      const auto image = files.image(name, {.writable = true, .secret = variety.secret});
      change_somehow(*image->qcow2(), random);
      must(image->close());
    }
    below = name;
  }
}

}  // namespace cowvet::engine::testing_images
