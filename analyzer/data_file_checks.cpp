// The external data file: its name, and what can be known of the file without opening it. Hands on its size.
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>

#include <fmt/format.h>

#include "analyzer/header_checks.hpp"
#include "base/text.hpp"
#include "storage/path_state.hpp"

namespace cowvet::analyzer {

using namespace findings::literals;
using findings::Finding;
using findings::Value;
namespace fs = std::filesystem;

namespace {

class DataFileCheck {
 public:
  DataFileCheck(Image& image, const std::string& name) : image_(image), name_(name), path_(name) {
    const auto* extension = image.extensions.find(format::ExtensionType::data_file);
    if (extension == nullptr) return;
    where_ = fmt::format("ext[{}]", extension - image.extensions.list.data());
    bytes_ = findings::HostRange{
        base::HostOffset{extension->position + format::disk_size<format::ExtensionHeader>},
        extension->data.size()};
  }

  void run() {
    // A name that is no text is ext/data-file-name's; no file is looked for under it.
    if (name_.empty() || name_.find('\0') != std::string::npos) return;
    const bool literal = looks_like_url();
    if (literal)
      image_.report(about("datafile/name-literal"_rule));
    else if (path_.is_relative())
      image_.report(about("datafile/name-resolution"_rule).saying(beside_image()));

    using Kind = storage::PathState::Kind;
    const bool asked = !literal && !image_.options.path.empty();
    const auto file = asked ? storage::look_at(name_) : storage::PathState{};
    const bool device = file.kind == Kind::block_device || file.kind == Kind::character_device;
    if (!literal && (device || leaves_directory()))
      image_.report(
          about("security/data-file-host-file"_rule)
              .saying(device ? "The name leads to a device." : "The name leaves the image's directory."));
    if (!asked) return;
    if (file.kind != Kind::file && file.kind != Kind::block_device) {
      image_.report(about("datafile/missing"_rule)
                        .hits(whole_disk(image_))
                        .saying(file.kind != Kind::missing
                                    ? "It is neither a file nor a block device."
                                    : std::generic_category().message(file.os_error) + "."));
      return;
    }
    if (const auto self = image_.device.identity();
        self && self->device == file.device && self->inode == file.inode) {
      image_.report(about("datafile/is-self"_rule).hits(whole_disk(image_)));
      return;
    }
    if (file.kind == Kind::file) judge_size(file.size);
  }

 private:
  Finding about(findings::RuleId rule) const {
    auto finding = Finding{rule}.at(where_).found(Value::text(base::escape(name_)));
    finding.host = bytes_;
    return finding;
  }

  // Whether older versions of QEMU would have taken the name for something other than a path: a JSON description, or a
  // protocol, which is what stands before a colon that comes before any slash.
  [[nodiscard]] bool looks_like_url() const {
    const auto colon = name_.find(':');
    return colon != std::string::npos && colon < name_.find('/');
  }

  // The directory that the image lies in; nothing when its place is not known.
  [[nodiscard]] std::optional<fs::path> image_directory() const {
    if (image_.options.path.empty()) return std::nullopt;
    std::error_code error;
    const auto image = fs::absolute(image_.options.path, error);
    if (error) return std::nullopt;
    return image.lexically_normal().parent_path();
  }

  // By the names alone; links are not followed.
  [[nodiscard]] bool leaves_directory() const {
    auto inside = path_.lexically_normal();
    if (path_.is_absolute()) {
      const auto directory = image_directory();
      if (!directory) return true;
      inside = inside.lexically_relative(*directory);
    }
    return inside.empty() || *inside.begin() == "..";
  }

  [[nodiscard]] std::string beside_image() const {
    const auto directory = image_directory();
    std::error_code error;
    if (!directory || !fs::exists(*directory / path_, error)) return {};
    return "A file of this name lies in the image's directory.";
  }

  void judge_size(std::uint64_t length) {
    image_.data_file_size = length;
    const std::uint64_t disk = image_.header.v2.size;
    if (length == disk) return;
    const bool raw = image_.header.raw_external_data();
    if (!raw && length < disk) return;  // normal: the end of the disk was never written
    image_.report(about(raw ? "datafile/raw-size"_rule : "datafile/too-long"_rule)
                      .wanted(Value::dec(disk))
                      .found(Value::dec(length)));
  }

  Image& image_;
  const std::string& name_;
  const fs::path path_;
  std::string where_ = "header";
  std::optional<findings::HostRange> bytes_;
};

}  // namespace

void check_data_file(Image& image) {
  if (!image.header.external_data_file()) return;
  if (image.data_file_name) return DataFileCheck(image, *image.data_file_name).run();
  if (extensions_cut(image)) return;
  image.report(header_finding<&format::HeaderV3::incompatible_features>(image, "datafile/name-missing"_rule)
                   .found(Value::hex(image.header.v3.incompatible_features))
                   .hits(whole_disk(image)));
}

}  // namespace cowvet::analyzer
