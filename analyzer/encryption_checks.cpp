// Encryption without the key: the method, the extension, and the region that holds the LUKS header. Hands on
// the region: whoever takes its clusters for free destroys the key, so a doubtful length is judged by the
// LUKS header itself.
#include <algorithm>

#include <fmt/format.h>

#include "analyzer/header_checks.hpp"
#include "analyzer/luks_checks.hpp"

namespace cowvet::analyzer {

using namespace findings::literals;
using findings::Finding;
using findings::Value;
using format::CryptMethod;
using format::EncryptionExtension;
using format::HeaderV2;

namespace {

constexpr std::uint64_t usual_length = 4ULL << 20;  // bytes; eight slots for the longest key take half of it

class RegionCheck {
 public:
  // `where` is the extension's path, `at` the place of its record.
  RegionCheck(Image& image, const EncryptionExtension& record, base::HostOffset at, std::string where)
      : image_(image), record_(record), at_(at), where_(std::move(where)) {}

  void judge() {
    if (!readable_place()) {
      image_.report(extension<&EncryptionExtension::offset>("crypt/header-offset"_rule)
                        .wanted(Value::text(fmt::format("a multiple of {}", image_.geometry->cluster_size())))
                        .hits(whole_disk(image_)));
      return image_.doubt("the LUKS header can't be found");
    }
    read();
    const bool good = judge_length();
    if (luks_) {
      check_luks(image_, *luks_, record_.offset);
      if (const auto payload = payload_of(*luks_); good && payload && *payload != record_.length)
        image_.report(
            field_finding<&format::LuksHeader::payload_offset>("luks/payload-offset-match"_rule,
                                                               luks_->header, record_.offset, "luks")
                .wanted(Value::text(fmt::format("{} sectors", record_.length / format::limits::sector))));
    }
    if (!good) image_.doubt("the length of the LUKS region is damaged");
    own(good);
    if (good) judge_padding();
  }

  // Keeps the region from being taken for free where the method says that there is none, if a LUKS header is there.
  void keep() {
    if (readable_place()) read();
    if (luks_ && is_luks1(*luks_)) own(judged_length_fits());
    image_.doubt("there may be a LUKS header that the encryption method denies");
  }

 private:
  template <auto Ptr>
  Finding extension(findings::RuleId rule) const {
    return field_finding<Ptr>(rule, record_, at_, where_);
  }

  [[nodiscard]] bool readable_place() const {
    return record_.offset.raw() != 0 && image_.geometry->aligned(record_.offset);
  }

  void read() {
    luks_ = format::decode_luks(
        image_.read(record_.offset, format::luks_header_size, format::luks_header_size, "luks"));
  }

  // Where the key material ends that has a possible place, bytes from the region's begin.
  [[nodiscard]] std::uint64_t key_end() const {
    std::uint64_t end = format::luks_header_size;
    if (luks_)
      for (const auto& slot : luks_->slots) end = std::max(end, key_material_end(*luks_, slot).value_or(0));
    return end;
  }
  // The longest that the region may be: up to the payload, in whole clusters.
  [[nodiscard]] std::uint64_t longest() const {
    const auto payload = luks_ ? payload_of(*luks_) : std::nullopt;
    return payload ? image_.geometry->clusters(*payload) * image_.geometry->cluster_size()
                   : format::limits::max_offset;
  }
  [[nodiscard]] bool judged_length_fits() const {
    return record_.length >= key_end() && record_.length <= longest() &&
           image_.inside(record_.offset, record_.length);
  }

  // True: the length can be believed.
  bool judge_length() {
    if (record_.length < key_end()) {
      auto finding = extension<&EncryptionExtension::length>("crypt/header-length-min"_rule)
                         .wanted(Value::text(fmt::format("at least {}", key_end())))
                         .hits(whole_disk(image_));
      image_.report(record_.length < format::luks_header_size ? std::move(finding)
                                                              : std::move(finding).milder());
      return false;
    }
    if (!judged_length_fits()) {
      const bool past_eof = !image_.inside(record_.offset, record_.length);
      image_.report(extension<&EncryptionExtension::length>("crypt/header-length-max"_rule)
                        .hits(whole_disk(image_))
                        .saying(past_eof ? "The region reaches past the end of the file."
                                         : "The region reaches past the payload offset of the LUKS header."));
      return false;
    }
    return true;
  }

  // Adds the region, with the length that can be believed most.
  void own(bool length_is_good) {
    std::uint64_t length = record_.length;
    if (!length_is_good) {
      const auto payload = luks_ ? payload_of(*luks_) : std::nullopt;
      length = payload && image_.inside(record_.offset, *payload)
                   ? *payload
                   : std::max(key_end(), std::min(record_.length, usual_length));
    }
    if (record_.offset.raw() <= format::limits::max_offset - length)
      image_.regions.push_back({Kind::luks, record_.offset, length});
  }

  void judge_padding() {
    const std::uint64_t end = record_.offset.raw() + record_.length;
    const std::uint64_t rest = image_.geometry->clusters(end) * image_.geometry->cluster_size() - end;
    const auto bytes = image_.read(base::HostOffset{end}, rest, image_.geometry->cluster_size(), "luks");
    if (!base::all_zero(bytes))
      image_.report(Finding{"crypt/region-padding"_rule}.at("luks").on(base::HostOffset{end}, bytes.size()));
  }

  Image& image_;
  const EncryptionExtension record_;
  const base::HostOffset at_;
  const std::string where_;
  std::optional<format::Luks> luks_;
};

}  // namespace

void check_encryption(Image& image) {
  if (!image.geometry) return;
  const std::uint32_t method = image.header.v2.crypt_method;
  const auto is = [&](CryptMethod m) { return method == static_cast<std::uint32_t>(m); };
  const auto* extension = image.extensions.find(format::ExtensionType::encryption);
  if (is(CryptMethod::aes))
    image.report(header_finding<&HeaderV2::crypt_method>(image, "crypt/aes-legacy"_rule));
  if (extension == nullptr) {
    if (!is(CryptMethod::luks)) return;
    if (!extensions_cut(image))
      image.report(header_finding<&HeaderV2::crypt_method>(image, "crypt/luks-extension"_rule)
                       .hits(whole_disk(image)));
    return image.doubt("the LUKS header can't be found");
  }

  const auto where = fmt::format("ext[{}]", extension - image.extensions.list.data());
  const base::HostOffset at{extension->position + format::disk_size<format::ExtensionHeader>};
  if (is(CryptMethod::none) || is(CryptMethod::aes))
    image.report(Finding{"crypt/aes-no-extension"_rule}
                     .at(where)
                     .on(at, extension->data.size())
                     .hits(whole_disk(image))
                     .saying(fmt::format("The encryption method is {}.", method)));
  if (!image.encryption) return image.doubt("the LUKS header can't be found");  // ext/crypto-length
  RegionCheck region(image, *image.encryption, at, where);
  if (is(CryptMethod::luks))
    region.judge();
  else
    region.keep();
}

}  // namespace cowvet::analyzer
