#include "repair/undo_file.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <iterator>
#include <string_view>

#include <fmt/format.h>

#include "base/text.hpp"
#include "base/version.hpp"

namespace cowvet::repair {

namespace {

using base::ConstBytes;
using base::ErrorKind;
using Header = std::array<std::byte, header_bytes>;

constexpr std::uint32_t version = 1;
constexpr std::string_view magic = "COWVUNDO", first_words = "This is an undo file of cowvet";
constexpr std::size_t digested = header_bytes - digest_bytes;
constexpr std::size_t fields = format::disk_size<UndoHeader>;
static_assert(fields + name_limit <= digested);

ConstBytes bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

std::unexpected<base::Error> damaged(std::string_view what) {
  return base::fail(
      ErrorKind::wrong_format,
      fmt::format("the undo file is damaged ({}): nothing was done with it; get a good copy of it", what));
}

base::Error of_undo_file(base::Error error) {
  error.message = "the undo file: " + error.message;
  return error;
}

std::string text_of(const UndoIdentity& who) {
  const auto name = [](const std::string& text) {
    auto shown = base::escape(std::string_view(text).substr(0, 200));
    return text.size() > 200 ? shown + "..." : shown;
  };
  auto text = fmt::format(
      "{}. It takes back one change of the image\n\n  {}\n\nand makes that image what it was before, byte "
      "for byte:"
      "\n\n  cowvet undo '{}'\n\nMade {} by cowvet {} for: {}\n\n"
      "Keep this file until the changed image has proved to be right. What follows is binary.\n\n",
      first_words, name(who.image), name(who.undo_file), utc(who.made), base::version, name(who.cause));
  text.resize(state_place);
  return text;
}

std::string_view words_of(UndoState state) {
  switch (state) {
    case UndoState::repairing:
      return "State: the change of the image was begun and, unless it goes on now, interrupted.\n";
    case UndoState::complete: return "State: the image was changed.\n";
    case UndoState::undoing:
      return "State: taking the change back was begun and, unless it goes on now, interrupted.\n";
    case UndoState::undone: return "State: the change was taken back. This file is not needed any more.\n";
  }
  return {};
}

std::array<std::byte, sector> state_sector(UndoState state, const Digest& header,
                                           const storage::Device* image) {
  StateRecord record{.state = static_cast<std::uint32_t>(state), .header = header};
  std::ranges::copy(bytes_of(words_of(state)), record.words.begin());
  if (const auto identity = image != nullptr ? image->identity() : std::nullopt) {
    record.modified_sec = static_cast<std::uint64_t>(identity->modified_sec);
    record.modified_nsec = static_cast<std::uint64_t>(identity->modified_nsec);
  }
  auto bytes = format::encode(record);
  record.digest = digest_of({std::span(bytes).first(sector - digest_bytes)});
  return format::encode(record);
}

Digest header_digest(const Header& header) { return digest_of({std::span(header).first(digested)}); }

Digest stored_digest(ConstBytes bytes) {
  Digest digest;
  std::ranges::copy(bytes.last(digest_bytes), digest.begin());
  return digest;
}

base::Result<void> read_all(const storage::Device& undo, std::uint64_t offset, base::MutableBytes into) {
  const auto got = undo.read(offset, into);
  if (got.os_error != 0)
    return base::fail(ErrorKind::io, "the undo file can't be read: try again, or copy it to a good disk",
                      got.os_error);
  if (got.valid != into.size()) return damaged("it ends too early");
  return {};
}

}  // namespace

std::string utc(std::uint64_t seconds) {
  const std::chrono::sys_seconds moment{
      std::chrono::seconds(std::min<std::uint64_t>(seconds, 253'402'300'799))};
  const auto day = std::chrono::floor<std::chrono::days>(moment);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss time(moment - day);
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02} UTC", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     time.hours().count(), time.minutes().count(), time.seconds().count());
}

base::Result<void> UndoWriter::add(const UndoBlock& block) {
  const auto start = format::encode(BlockRecord{.kind = static_cast<std::uint32_t>(block.kind),
                                                .sectors = static_cast<std::uint32_t>(block.after.size()),
                                                .offset = block.offset});
  std::vector<std::byte> bytes;
  bytes.reserve(start.size() + block.after.size() * sector_digest_bytes + block.before.size() + digest_bytes);
  bytes.insert(bytes.end(), start.begin(), start.end());
  for (const auto& digest : block.after) bytes.insert(bytes.end(), digest.begin(), digest.end());
  bytes.insert(bytes.end(), block.before.begin(), block.before.end());
  header_.chain = digest_of({header_.chain, bytes});
  bytes.insert(bytes.end(), header_.chain.begin(), header_.chain.end());
  if (auto written = undo_.write(end_, bytes); !written)
    return std::unexpected(of_undo_file(written.error()));
  end_ += bytes.size();
  ++header_.blocks;
  header_.sectors += block.after.size();
  header_.saved += block.before.size() / sector;
  return {};
}

base::Result<void> UndoWriter::finish(const UndoIdentity& who, const UndoInfo& info, ConstBytes head) {
  if (who.image.size() > name_limit)
    return base::fail(ErrorKind::limit, fmt::format("the image's name has more than {} bytes", name_limit));
  const auto text = text_of(who);
  std::ranges::copy(bytes_of(magic), header_.magic.begin());
  header_.version = version;
  header_.sector_size = sector;
  header_.length_before = info.length_before;
  header_.length_after = info.length_after;
  header_.block_device = info.block_device ? 1 : 0;
  header_.name_length = static_cast<std::uint32_t>(who.image.size());
  header_.made = who.made;
  header_.file_length = end_;
  header_.head = digest_of({head});
  header_.text = digest_of({bytes_of(text)});
  Header header{};
  std::ranges::copy(format::encode(header_), header.begin());
  std::ranges::copy(bytes_of(who.image), header.begin() + fields);
  const auto digest = header_digest(header);
  std::ranges::copy(digest, header.begin() + digested);

  std::vector<std::byte> start;
  start.reserve(blocks_place);
  std::ranges::copy(bytes_of(text), std::back_inserter(start));
  std::ranges::copy(state_sector(UndoState::repairing, digest, nullptr), std::back_inserter(start));
  std::ranges::copy(header, std::back_inserter(start));
  auto done = undo_.write(0, start);
  if (done) done = undo_.flush();
  if (!done) return std::unexpected(of_undo_file(done.error()));
  return {};
}

base::Result<UndoReader> UndoReader::open(const storage::Device& undo) {
  std::array<std::byte, state_place> text;
  Header header;
  if (undo.size() < blocks_place)
    return base::fail(ErrorKind::wrong_format,
                      "this is no undo file, or one that was not finished and whose image was "
                      "not changed: name the file that 'cowvet repair' told");
  if (auto read = read_all(undo, 0, text); !read) return std::unexpected(read.error());
  if (auto read = read_all(undo, header_place, header); !read) return std::unexpected(read.error());
  UndoReader reader(undo);
  reader.header_ = format::decode<UndoHeader>(std::span(header).first<fields>());
  const auto& fields_read = reader.header_;
  const bool has_magic = std::ranges::equal(fields_read.magic, bytes_of(magic));
  const bool has_words = std::ranges::equal(std::span(text).first(first_words.size()), bytes_of(first_words));
  if (!has_magic && !has_words)
    return base::fail(ErrorKind::wrong_format,
                      "this is no undo file of cowvet: name the file that 'cowvet repair' told");
  const auto digest = header_digest(header);
  if (digest != stored_digest(header) || !has_magic) return damaged("its header");
  if (fields_read.version != version || fields_read.sector_size != sector)
    return base::fail(ErrorKind::wrong_format, "the undo file was made by a newer cowvet: use that one");
  if (digest_of({text}) != fields_read.text) return damaged("its text");
  if (fields_read.file_length != undo.size()) return damaged("it has another length than it was made with");
  if (fields_read.name_length > name_limit || fields_read.length_before > INT64_MAX ||
      fields_read.length_after > INT64_MAX)
    return damaged("its header");
  auto& info = reader.info_;
  info.image.assign(reinterpret_cast<const char*>(header.data() + fields), fields_read.name_length);
  info.made = fields_read.made;
  info.length_before = fields_read.length_before;
  info.length_after = fields_read.length_after;
  info.block_device = fields_read.block_device != 0;
  info.blocks = fields_read.blocks;
  info.sectors = fields_read.sectors;
  info.saved_sectors = fields_read.saved;
  if (auto read = reader.read_state(digest); !read) return std::unexpected(read.error());
  return reader;
}

base::Result<void> UndoReader::read_state(const Digest& header) {
  std::array<std::byte, sector> bytes;
  if (auto read = read_all(*undo_, state_place, bytes); !read) return read;
  const auto record = format::decode<StateRecord>(bytes);
  if (record.digest != digest_of({std::span(bytes).first(sector - digest_bytes)}) ||
      record.header != header || record.state < 1 || record.state > 4)
    return damaged("its state");
  info_.state = static_cast<UndoState>(record.state);
  if (info_.state == UndoState::complete && record.modified_sec != 0)
    info_.modified = {record.modified_sec, record.modified_nsec};
  return {};
}

void UndoReader::rewind() {
  chain_ = {};
  place_ = blocks_place;
  blocks_ = sectors_ = saved_ = image_end_ = 0;
}

base::Result<const UndoBlock*> UndoReader::next() {
  if (blocks_ == header_.blocks) {
    if (place_ != header_.file_length || chain_ != header_.chain || sectors_ != header_.sectors ||
        saved_ != header_.saved)
      return damaged("its blocks");
    return nullptr;
  }
  std::array<std::byte, format::disk_size<BlockRecord>> start;
  if (auto read = read_all(*undo_, place_, start); !read) return std::unexpected(read.error());
  const auto record = format::decode<BlockRecord>(start);
  const std::uint64_t limit = std::max(header_.length_before, header_.length_after) + sector;
  if (record.kind < 1 || record.kind > 4 || record.sectors < 1 || record.sectors > most_sectors ||
      record.offset % sector != 0 || record.offset < image_end_ || record.offset >= limit)
    return damaged("a block");
  const bool saved = record.kind == static_cast<std::uint32_t>(BeforeKind::saved);
  std::vector<std::byte> rest(record.sectors * (sector_digest_bytes + (saved ? sector : 0)) + digest_bytes);
  if (auto read = read_all(*undo_, place_ + start.size(), rest); !read) return std::unexpected(read.error());
  const auto content = std::span(rest).first(rest.size() - digest_bytes);
  chain_ = digest_of({chain_, start, content});
  if (chain_ != stored_digest(rest)) return damaged("a block");
  block_.kind = static_cast<BeforeKind>(record.kind);
  block_.offset = record.offset;
  block_.after.resize(record.sectors);
  for (std::size_t i = 0; i < record.sectors; ++i)
    std::ranges::copy(content.subspan(i * sector_digest_bytes, sector_digest_bytes), block_.after[i].begin());
  const auto before = content.subspan(record.sectors * sector_digest_bytes);
  block_.before.assign(before.begin(), before.end());
  place_ += start.size() + rest.size();
  ++blocks_;
  sectors_ += record.sectors;
  saved_ += saved ? record.sectors : 0;
  image_end_ = block_.end();
  return &block_;
}

base::Result<void> set_state(storage::Device& undo, UndoState state, const storage::Device* image) {
  Header header;
  if (auto read = read_all(undo, header_place, header); !read) return read;
  const auto bytes = state_sector(state, stored_digest(header), image);
  auto done = undo.write(state_place, bytes);
  if (done) done = undo.flush();
  if (!done) return std::unexpected(of_undo_file(done.error()));
  std::array<std::byte, sector> now;
  if (auto read = read_all(undo, state_place, now); !read) return read;
  if (now != bytes)
    return base::fail(ErrorKind::io,
                      "the undo file does not hold what was written to it: its disk loses writes");
  return {};
}

}  // namespace cowvet::repair
