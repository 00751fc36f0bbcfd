// The reference to the backing file, as far as this image alone shows it. Promises: nothing is opened; a name is
// handed on with its exact bytes.
#include <algorithm>
#include <span>
#include <string>
#include <string_view>

#include "analyzer/header_checks.hpp"
#include "base/text.hpp"

namespace cowvet::analyzer {

using namespace findings::literals;
using findings::Finding;
using findings::Value;
using format::HeaderV2;
namespace limits = format::limits;

namespace {

// Image formats that QEMU knows by name.
constexpr std::string_view formats[] = {"bochs", "cloop", "dmg", "luks", "parallels", "qcow", "qcow2",
                                        "qed",   "raw",   "vdi", "vhdx", "vmdk",      "vpc"};
// What QEMU knows by name and is no image format: where bytes come from, and filters over other nodes.
constexpr std::string_view other_drivers[] = {"blkdebug",
                                              "blklogwrites",
                                              "blkreplay",
                                              "blkverify",
                                              "compress",
                                              "copy-before-write",
                                              "copy-on-read",
                                              "file",
                                              "ftp",
                                              "ftps",
                                              "gluster",
                                              "host_cdrom",
                                              "host_device",
                                              "http",
                                              "https",
                                              "io_uring",
                                              "iscsi",
                                              "iser",
                                              "nbd",
                                              "nfs",
                                              "null-aio",
                                              "null-co",
                                              "nvme",
                                              "nvme-io_uring",
                                              "preallocate",
                                              "quorum",
                                              "rbd",
                                              "replication",
                                              "sheepdog",
                                              "snapshot-access",
                                              "ssh",
                                              "throttle",
                                              "tftp",
                                              "virtio-blk-pci",
                                              "virtio-blk-vfio-pci",
                                              "virtio-blk-vhost-user",
                                              "virtio-blk-vhost-vdpa",
                                              "vvfat",
                                              "vxhs"};

bool is_one_of(std::span<const std::string_view> names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

std::uint64_t name_offset(const Image& image) { return image.header.v2.backing_file_offset.raw(); }

// Offset and length of the name against its place; true when a name can be read there.
bool judge_place(Image& image) {
  const auto& v2 = image.header.v2;
  const std::uint64_t offset = name_offset(image);
  const std::uint64_t cluster = image.geometry->cluster_size();
  const std::uint64_t behind_extensions =
      std::max<std::uint64_t>(image.header.length(), image.extensions.end);
  const auto out_of_range = [&] {
    return header_finding<&HeaderV2::backing_file_offset>(image, "backing/offset-range"_rule)
        .wanted(Value::text(fmt::format("{:#x} to {:#x}", behind_extensions, cluster - 1)))
        .hits(whole_disk(image));
  };
  if (offset >= cluster) {
    // QEMU takes a name without bytes at the very end for no name.
    const bool harmless = offset == cluster && v2.backing_file_size == 0;
    image.report(harmless ? out_of_range().milder() : out_of_range());
    return false;
  }
  if (header_length_usable(image) && offset < behind_extensions) image.report(out_of_range().milder());
  if (v2.backing_file_size == 0) {
    image.report(header_finding<&HeaderV2::backing_file_size>(image, "backing/name-empty"_rule)
                     .wanted(Value::text("1 to 1023"))
                     .hits(whole_disk(image)));
    return false;
  }
  if (v2.backing_file_size > limits::max_backing_name) {
    image.report(header_finding<&HeaderV2::backing_file_size>(image, "backing/size-limit"_rule)
                     .wanted(Value::text(fmt::format("at most {}", limits::max_backing_name)))
                     .hits(whole_disk(image)));
    return false;
  }
  if (v2.backing_file_size > cluster - offset) {
    image.report(header_finding<&HeaderV2::backing_file_size>(image, "backing/crosses-first-cluster"_rule)
                     .wanted(Value::text(fmt::format("at most {}", cluster - offset)))
                     .hits(whole_disk(image)));
    return false;
  }
  return true;
}

void judge_name(Image& image, std::string_view name) {
  const auto finding = [&](findings::RuleId rule) {
    return Finding{rule}
        .at("backing_name")
        .on(base::HostOffset{name_offset(image)}, name.size())
        .found(Value::text(std::string(name)));
  };
  if (const auto nul = name.find('\0'); nul != std::string_view::npos) {
    image.report(finding("backing/name-nul"_rule)
                     .wanted(Value::text("no NUL"))
                     .saying(fmt::format("QEMU opens \"{}\".", base::escape(name.substr(0, nul))))
                     .hits(whole_disk(image)));
  } else if (!base::plain_text(name)) {
    image.report(finding("backing/name-text"_rule).wanted(Value::text("UTF-8 without control characters")));
  }
}

void judge_format(Image& image) {
  const auto* extension = image.extensions.find(format::ExtensionType::backing_format);
  const auto name = extension == nullptr ? std::string_view{} : format::until_nul(extension->data);
  if (name.empty()) {
    image.report(header_finding<&HeaderV2::backing_file_offset>(image, "backing/format-missing"_rule)
                     .wanted(Value::text("a backing format extension")));
    return;
  }
  // A longer name is no driver's name either; its length is what is wrong with it.
  if (extension->data.size() > limits::max_backing_format || is_one_of(formats, name)) return;
  const bool is_driver = is_one_of(other_drivers, name);
  const auto rule = is_driver ? "backing/format-not-a-format"_rule : "backing/format-unknown"_rule;
  image.report(Finding{rule}
                   .at(fmt::format("ext[{}]", extension - image.extensions.list.data()))
                   .on(base::HostOffset{extension->position}, extension->data.size())
                   .wanted(Value::text("an image format"))
                   .found(Value::text(std::string(name))));
}

}  // namespace

std::optional<NamePlace> backing_name_place(const Image& image) {
  const std::uint64_t cluster = image.geometry->cluster_size();
  const std::uint64_t offset = name_offset(image), length = image.header.v2.backing_file_size;
  if (offset < image.header.length() || offset < image.extensions.end || offset >= cluster)
    return std::nullopt;
  if (length == 0 || length > limits::max_backing_name || length > cluster - offset) return std::nullopt;
  return NamePlace{offset, length};
}

void check_backing(Image& image) {
  if (!image.geometry) return;
  const auto& v2 = image.header.v2;
  if (name_offset(image) == 0) {
    if (v2.backing_file_size != 0)
      image.report(header_finding<&HeaderV2::backing_file_size>(image, "backing/size-without-offset"_rule)
                       .wanted(Value::dec(0))
                       .hits(whole_disk(image)));
    return;
  }
  if (!judge_place(image)) return;
  const base::ConstBytes cluster0{image.cluster0};
  if (cluster0.size() < name_offset(image) || cluster0.size() - name_offset(image) < v2.backing_file_size)
    return;
  image.backing_name = format::as_text(cluster0.subspan(name_offset(image), v2.backing_file_size));
  // Where the name lies on top of other fields, its text says nothing.
  if (backing_name_place(image)) judge_name(image, *image.backing_name);
  judge_format(image);
}

}  // namespace cowvet::analyzer
