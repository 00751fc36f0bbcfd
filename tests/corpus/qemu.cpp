#include "tests/corpus/qemu.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <sys/wait.h>

#include <fmt/format.h>

#include "format/extensions.hpp"
#include "format/header.hpp"

namespace cowvet::corpus::testing {
namespace {

constexpr std::uint64_t most_read = 256ULL << 20;  // larger disks are checked, but not read back

std::uint64_t field(const BuiltImage& image, std::size_t offset, std::size_t width) {
  return image.layout.pristine.load(offset, width);
}

// No backing file is opened: what the image itself holds is at stake.
std::string open_options(const std::string& file, bool aes) {
  return fmt::format(
      R"({}'json:{{"driver":"qcow2","backing":null,{}"file":{{"driver":"file","filename":"{}"}}}}')",
      aes ? "--object secret,id=s,data=password " : "",
      aes ? R"("encrypt":{"format":"aes","key-secret":"s"},)" : "", file);
}

// The LUKS header's key material is noise, so that nobody can unlock the image: `qemu-img info` judges the header. Told
// that the image isn't encrypted and that the extension is an unknown one, `qemu-img check` must find nothing wrong but
// the clusters of the LUKS header unowned.
SparseBytes without_luks(const BuiltImage& image) {
  SparseBytes file = image.file;
  file.store(32, 4, 0);
  for (const auto& e : image.layout.extensions)
    if (e.type == static_cast<std::uint32_t>(format::ExtensionType::encryption))
      file.store(e.offset, 4, 0x6e6f6e65);
  return file;
}

std::string compare(const Workshop& shop, const BuiltImage& image, const Layer& layer,
                    const std::string& from) {
  if (layer.size > most_read) return {};
  const auto converted = shop.run(fmt::format("rm -f raw && qemu-img convert -O raw {} raw", from));
  if (converted.status != 0) return "can't be read: " + converted.output;
  std::ifstream in(shop.path("raw"), std::ios::binary);
  const auto& g = image.layout.geometry;
  std::vector<std::byte> found(g.cluster_size());
  for (std::uint64_t cluster = 0; cluster << g.cluster_bits() < layer.size; ++cluster) {
    const auto length = std::min(g.cluster_size(), layer.size - (cluster << g.cluster_bits()));
    in.read(reinterpret_cast<char*>(found.data()), static_cast<std::streamsize>(length));
    if (static_cast<std::uint64_t>(in.gcount()) != length) return "reads too short";
    const auto wanted = layer.read(g, cluster);
    const auto n = static_cast<std::ptrdiff_t>(length);
    if (!std::equal(found.begin(), found.begin() + n, wanted.begin()))
      return fmt::format("guest cluster {} has other bytes than the builder says", cluster);
  }
  return {};
}

}  // namespace

Workshop::Workshop() {
  std::string name = (std::filesystem::temp_directory_path() / "cowvet-corpus-XXXXXX").string();
  if (mkdtemp(name.data()) != nullptr) folder_ = name;
}

Workshop::~Workshop() {
  std::error_code error;
  if (!folder_.empty()) std::filesystem::remove_all(folder_, error);
}

Outcome Workshop::run(const std::string& command) const {
  Outcome outcome;
  FILE* pipe = popen(fmt::format("cd '{}' && ( {} ) 2>&1", folder_, command).c_str(), "r");
  if (pipe == nullptr) return outcome;
  std::array<char, 4096> part{};
  while (const auto n = fread(part.data(), 1, part.size(), pipe)) outcome.output.append(part.data(), n);
  const int status = pclose(pipe);
  outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return outcome;
}

bool have_qemu() {
  const Workshop shop;
  return shop.run("qemu-img --version").status == 0;
}

std::string judge(const BuiltImage& image) {
  const Workshop shop;
  const auto crypt = static_cast<format::CryptMethod>(field(image, 32, 4));
  const bool luks = crypt == format::CryptMethod::luks;
  const bool aes = crypt == format::CryptMethod::aes;
  const auto saved = luks ? without_luks(image).save(shop.path("image")) : save(image, shop.path("image"));
  if (!saved) return saved.error().message;
  const std::string how = open_options("image", aes);
  const auto checked = shop.run("qemu-img check " + how);
  std::uint64_t leaks = 0;
  for (auto at = checked.output.find("Leaked cluster "); at != std::string::npos;
       at = checked.output.find("Leaked cluster ", at + 1))
    ++leaks;
  if (luks) {
    if (auto ok = save(image, shop.path("locked")); !ok) return ok.error().message;
    const auto info = shop.run("qemu-img info " + open_options("locked", false));
    if (info.status != 0) return info.output;
    const auto region = image.layout.geometry.clusters(image.layout.luks->length);
    if (checked.status != 3 || leaks != region)
      return fmt::format("{} clusters belong to the LUKS header, but: {}", region, checked.output);
  } else if (checked.status != 0 || !checked.output.contains("No errors were found")) {
    return fmt::format("exit {}: {}", checked.status, checked.output);
  }
  if (aes) return {};  // what it reads is the ciphertext's decryption
  if (auto fault = compare(shop, image, image.active, how); !fault.empty()) return fault;
  for (std::size_t k = 0; k < image.snapshots.size(); ++k) {
    const auto& place = image.layout.snapshots[k];
    const std::uint64_t id_at = place.offset + 40 + place.extra_size;
    std::string id;
    for (auto b : image.layout.pristine.read(id_at, place.id_size)) id.push_back(static_cast<char>(b));
    // A snapshot is read through the disk's present size, so that only one of that size can be compared.
    if (image.snapshots[k].size != image.active.size) continue;
    if (auto fault = compare(shop, image, image.snapshots[k], fmt::format("-l snapshot.id={} {}", id, how));
        !fault.empty())
      return fmt::format("snapshot {}: {}", id, fault);
  }
  return {};
}

}  // namespace cowvet::corpus::testing
