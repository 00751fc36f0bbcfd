// The header extensions, and the bytes of the first cluster that belong to nothing. Promises: the list is read as QEMU
// reads it, and past a backing file name that was put into its middle; what a record says about a backing
// file, bitmaps, an encryption header or a data file is handed on and judged elsewhere.
#include <algorithm>
#include <array>
#include <optional>
#include <ranges>
#include <string>
#include <utility>

#include "analyzer/header_checks.hpp"
#include "base/text.hpp"

namespace cowvet::analyzer {

using namespace findings::literals;
using findings::Finding;
using findings::Value;
using format::Extension;
using format::ExtensionArea;
using format::ExtensionHeader;
using format::ExtensionType;

namespace {

constexpr std::uint64_t record_header = format::disk_size<ExtensionHeader>;

std::string name_of(std::uint32_t type) {
  switch (static_cast<ExtensionType>(type)) {
    case ExtensionType::end: return "end of the list";
    case ExtensionType::backing_format: return "backing format";
    case ExtensionType::feature_names: return "feature name table";
    case ExtensionType::bitmaps: return "bitmaps";
    case ExtensionType::encryption: return "encryption header";
    case ExtensionType::data_file: return "external data file name";
    case ExtensionType::scrap: return "scrap";
  }
  return {};
}

std::string describe(std::uint32_t type) {
  const auto name = name_of(type);
  return name.empty() ? fmt::format("type {:#010x}", type) : fmt::format("type {:#010x}, {}", type, name);
}

std::string path_of(std::size_t index) { return fmt::format("ext[{}]", index); }

// Where the extension area ends: at the backing file name, if that lies in the first cluster.
std::uint64_t area_end(const Image& image) {
  const std::uint64_t cluster = image.geometry->cluster_size();
  const std::uint64_t name = image.header.v2.backing_file_offset.raw();
  return name == 0 || name > cluster ? cluster : name;
}

// Whether the bytes that the header gives as backing file name look like one.
bool name_is_text(const Image& image) {
  const auto& v2 = image.header.v2;
  const auto place = base::ConstBytes{image.cluster0}.subspan(
      std::min<std::size_t>(image.cluster0.size(), v2.backing_file_offset.raw()));
  const auto name = place.first(std::min<std::size_t>(place.size(), v2.backing_file_size));
  return !name.empty() && base::plain_text(format::as_text(name));
}

// A finding about the record at index `i` of the list as a whole.
Finding record_finding(const Image& image, findings::RuleId rule, std::size_t i) {
  const auto& extension = image.extensions.list[i];
  return Finding{rule}
      .at(path_of(i))
      .on(base::HostOffset{extension.position}, record_header + extension.data.size());
}

// A finding about a record's length field.
Finding length_finding(const Image& image, findings::RuleId rule, std::size_t i) {
  const auto& extension = image.extensions.list[i];
  const ExtensionHeader header{extension.type, static_cast<std::uint32_t>(extension.data.size())};
  return field_finding<&ExtensionHeader::length>(rule, header, base::HostOffset{extension.position},
                                                 path_of(i));
}

// How the list ended, if not with an end record of length 0.
void judge_end(Image& image) {
  const auto& area = image.extensions;
  const std::uint64_t end = area_end(image);
  const base::HostOffset place{area.end};
  const auto path = path_of(area.list.size());
  if (area.how == ExtensionArea::End::record) {
    if (area.end_length != 0 && !version_misflagged(image))
      image.report(field_finding<&ExtensionHeader::length>("ext/end-record-length"_rule, {0, area.end_length},
                                                           base::HostOffset{area.end - record_header}, path)
                       .wanted(Value::dec(0)));
    return;
  }
  const std::uint64_t rest = end > area.end ? end - area.end : 0;
  const auto bytes =
      base::ConstBytes{image.cluster0}.subspan(std::min<std::size_t>(image.cluster0.size(), area.end));
  const auto header = base::prefix<record_header>(bytes);
  if (area.how == ExtensionArea::End::overrun && header) {
    const auto record = format::decode<ExtensionHeader>(*header);
    image.report(field_finding<&ExtensionHeader::length>("ext/area-overrun"_rule, record, place, path)
                     .wanted(Value::text(fmt::format("at most {}", rest - record_header)))
                     .saying(fmt::format("The record says {}.", describe(record.type))));
    image.doubt("a header extension runs past the extension area");
  } else if (rest > 0 && rest < record_header) {
    image.report(Finding{"ext/area-overrun"_rule}
                     .at(path)
                     .on(place, rest)
                     .wanted(Value::text("8 bytes for a record"))
                     .found(Value::dec(rest)));
  } else if (image.eof >= end && (image.header.has_v3() || rest > 0 || !area.list.empty())) {
    // A file that ends here lacks more than this record. In version 2 an empty area is how an image without
    // extensions looks.
    image.report(Finding{"ext/end-record-missing"_rule}
                     .at(path)
                     .on(place, rest)
                     .wanted(Value::text("a record of type 0")));
    if (rest > 0) image.doubt("the list of header extensions is too long to be read");
  }
}

void judge_duplicates(Image& image) {
  const auto& list = image.extensions.list;
  for (std::size_t i = 1; i < list.size(); ++i) {
    const auto before = std::ranges::find(list.begin(), list.begin() + static_cast<std::ptrdiff_t>(i),
                                          list[i].type, &Extension::type);
    const auto first = static_cast<std::size_t>(before - list.begin());
    if (first == i) continue;
    image.report(
        record_finding(image, "ext/duplicate"_rule, i)
            .saying(fmt::format("It has the same type as {} ({}).", path_of(first), describe(list[i].type))));
    const auto type = static_cast<ExtensionType>(list[i].type);
    if (type == ExtensionType::bitmaps || type == ExtensionType::encryption)
      image.doubt("a header extension that owns clusters occurs twice");
  }
}

void judge_backing_format(Image& image, std::size_t i) {
  const auto text = format::as_text(image.extensions.list[i].data);
  const bool too_long = text.size() > format::limits::max_backing_format;
  if (too_long || text.empty() || text.contains('\0')) {
    auto finding = length_finding(image, "ext/backing-format-length"_rule, i)
                       .wanted(Value::text("1 to 15 bytes without NUL"))
                       .saying(fmt::format("The name is \"{}\".", base::escape(text)));
    image.report(too_long ? std::move(finding) : std::move(finding).milder());
  }
  if (image.header.v2.backing_file_offset.raw() == 0)
    image.report(record_finding(image, "ext/backing-format-without-name"_rule, i)
                     .found(Value::text(std::string(text)))
                     .hits(whole_disk(image)));
}

void judge_data_file_name(Image& image, std::size_t i) {
  const auto text = format::as_text(image.extensions.list[i].data);
  if (!image.header.external_data_file())
    image.report(record_finding(image, "ext/data-file-without-bit"_rule, i)
                     .wanted(Value::text("incompatible bit 2 set"))
                     .found(Value::text(std::string(text))));
  if (text.empty() || !base::plain_text(text))
    image.report(record_finding(image, "ext/data-file-name"_rule, i)
                     .wanted(Value::text("text of at least one byte"))
                     .found(Value::text(std::string(text)))
                     .hits(whole_disk(image)));
}

// Words of which one occurs in every usual name of the bit.
struct KnownFeature {
  std::uint8_t word, bit;
  std::string_view one, other;
};
constexpr KnownFeature known_features[] = {
    {0, 0, "dirty", "dirty"},   {0, 1, "corrupt", "corrupt"}, {0, 2, "data", "external"},
    {0, 3, "compress", "zstd"}, {0, 4, "l2", "subcluster"},   {1, 0, "lazy", "refcount"},
    {2, 0, "bitmap", "bitmap"}, {2, 1, "raw", "raw"},
};

bool contradicts(const format::FeatureName& record, std::string_view name) {
  const auto known = std::ranges::find_if(known_features, [&](const KnownFeature& feature) {
    return feature.word == record.word && feature.bit == record.bit;
  });
  if (known == std::end(known_features) || name.empty()) return false;
  std::string small{name};
  for (char& c : small)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return !small.contains(known->one) && !small.contains(known->other);
}

void judge_feature_names(Image& image, std::size_t i) {
  constexpr std::uint64_t size = format::disk_size<format::FeatureName>;
  const auto& extension = image.extensions.list[i];
  if (extension.data.size() % size != 0)
    image.report(length_finding(image, "ext/feature-table-length"_rule, i)
                     .wanted(Value::text(fmt::format("a multiple of {}", size))));
  std::array<std::uint64_t, 3> named{};  // for each word the bits that had a name so far
  base::Cursor cursor{extension.data};
  for (std::size_t n = 0; const auto bytes = cursor.take(size); ++n) {
    const auto record = format::decode<format::FeatureName>(bytes->first<size>());
    const auto name = format::until_nul(record.name);
    const auto report = [&](findings::RuleId rule, std::string detail) {
      image.report(
          Finding{rule}
              .at(fmt::format("{}.record[{}]", path_of(i), n))
              .on(base::HostOffset{extension.position + record_header + n * size}, size)
              .found(Value::text(fmt::format("word {} bit {} \"{}\"", record.word, record.bit, name)))
              .saying(std::move(detail)));
    };
    if (record.word > 2 || record.bit > 63) {
      report("ext/feature-table-record"_rule, "A word is 0, 1 or 2, a bit 0 to 63.");
    } else {
      const std::uint64_t mask = 1ULL << record.bit;
      if ((named[record.word] & mask) != 0)
        report("ext/feature-table-record"_rule, "The bit was named before.");
      named[record.word] |= mask;
    }
    if (!base::plain_text(name)) report("ext/feature-table-text"_rule, {});
    if (contradicts(record, name)) report("ext/feature-table-contradiction"_rule, {});
  }
}

void judge_record(Image& image, std::size_t i) {
  const auto& extension = image.extensions.list[i];
  const auto exact_length = [&](findings::RuleId rule, std::uint64_t length, std::string_view doubt) {
    if (extension.data.size() == length) return;
    image.report(length_finding(image, rule, i).wanted(Value::dec(length)));
    image.doubt(std::string(doubt));
  };
  switch (static_cast<ExtensionType>(extension.type)) {
    case ExtensionType::backing_format: judge_backing_format(image, i); break;
    case ExtensionType::feature_names: judge_feature_names(image, i); break;
    case ExtensionType::data_file: judge_data_file_name(image, i); break;
    case ExtensionType::bitmaps:
      exact_length("ext/bitmaps-length"_rule, format::disk_size<format::BitmapsExtension>,
                   "the bitmaps extension is damaged");
      break;
    case ExtensionType::encryption:
      exact_length("ext/crypto-length"_rule, format::disk_size<format::EncryptionExtension>,
                   "the encryption header extension is damaged");
      break;
    case ExtensionType::scrap: break;  // what it says is believed as far as the tables bear it out
    default:
      image.report(record_finding(image, "ext/unknown"_rule, i)
                       .found(Value::hex(extension.type))
                       .saying(fmt::format("It holds {} bytes.", extension.data.size())));
      image.doubt("an unknown header extension may own clusters");
  }
  if (!base::all_zero(extension.padding))
    image.report(Finding{"ext/padding-nonzero"_rule}
                     .at(path_of(i))
                     .on(base::HostOffset{extension.position + record_header + extension.data.size()},
                         extension.padding.size()));
}

void hand_on(Image& image) {
  const auto text_of = [&](ExtensionType type) -> std::optional<std::string> {
    const auto* extension = image.extensions.find(type);
    if (extension == nullptr) return std::nullopt;
    return std::string(format::as_text(extension->data));
  };
  image.backing_format = text_of(ExtensionType::backing_format);
  image.data_file_name = text_of(ExtensionType::data_file);
  if (const auto* extension = image.extensions.find(ExtensionType::encryption)) {
    if (const auto bytes = base::prefix<format::disk_size<format::EncryptionExtension>>(extension->data))
      image.encryption = format::decode<format::EncryptionExtension>(*bytes);
  }
}

// Reports the bytes of [begin, end) of the first cluster that should be zero and are not.
void judge_slack(Image& image, std::uint64_t begin, std::uint64_t end) {
  const auto bytes =
      base::ConstBytes{image.cluster0}.first(std::min<std::size_t>(image.cluster0.size(), end));
  if (begin >= bytes.size()) return;
  const auto slack = bytes.subspan(begin);
  if (base::all_zero(slack)) return;
  const auto nonzero = [](std::byte b) { return b != std::byte{0}; };
  const auto first = std::ranges::find_if(slack, nonzero);
  const auto after_last = std::ranges::find_if(slack | std::views::reverse, nonzero).base();
  const auto at = static_cast<std::uint64_t>(first - slack.begin());
  const auto length = static_cast<std::uint64_t>(after_last - first);
  constexpr std::size_t shown = 40;
  const auto text = format::until_nul(slack.subspan(at, std::min<std::size_t>(length, shown)));
  image.report(Finding{"header/slack-nonzero"_rule}
                   .at("header")
                   .on(base::HostOffset{begin + at}, length)
                   .wanted(Value::text("zeros"))
                   .saying(fmt::format("The bytes begin with \"{}\".", base::escape(text))));
}

void judge_all_slack(Image& image) {
  const bool has_name = image.header.v2.backing_file_offset.raw() != 0;
  const auto name = backing_name_place(image);
  // Where the name lies somewhere else than it may, any of the bytes can be its.
  if ((has_name && !name) || version_misflagged(image)) return;
  if (image.extensions.how == ExtensionArea::End::record)
    judge_slack(image, image.extensions.end, name ? name->begin : image.geometry->cluster_size());
  if (name) judge_slack(image, name->begin + name->length, image.geometry->cluster_size());
}

}  // namespace

void read_extensions(Image& image) {
  if (!header_length_usable(image)) return;
  const std::uint64_t begin = image.header.length();
  const std::uint64_t cluster = image.geometry->cluster_size();
  const std::uint64_t end = area_end(image);
  image.extensions = format::parse_extensions(image.cluster0, begin, end);
  if (end == cluster || image.extensions.how == ExtensionArea::End::record || name_is_text(image)) return;
  // The backing file name may have been put in front of the list's end: then the list is whole without it.
  auto whole = format::parse_extensions(image.cluster0, begin, cluster);
  if (whole.how == ExtensionArea::End::record && whole.end_length == 0 && whole.end > end)
    image.extensions = std::move(whole);
}

void check_extensions(Image& image) {
  if (!image.geometry || !header_length_usable(image)) return;
  judge_end(image);
  judge_duplicates(image);
  for (std::size_t i = 0; i < image.extensions.list.size(); ++i) judge_record(image, i);
  hand_on(image);
  judge_all_slack(image);
}

}  // namespace cowvet::analyzer
