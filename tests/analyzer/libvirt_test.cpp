// What is read from libvirt's XML: names, and the bounds that no file passes.
#include "analyzer/libvirt.hpp"

#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "storage/file.hpp"

namespace cowvet::analyzer {
namespace {

LibvirtFile read(const std::string& inside, const std::string& file = "machines/a.xml") {
  return parse_libvirt(file, "<domain><name>a</name><devices>" + inside + "</devices></domain>");
}

std::string disk(const std::string& source, const std::string& more = {}) {
  return fmt::format("<disk type='file'><source file='{}'/><target dev='vda'/>{}</disk>", source, more);
}

TEST(LibvirtXml, resolves_names_from_the_folder_of_the_file) {
  EXPECT_EQ(read(disk("b.img")).then.at(0).source, "machines/b.img");
  EXPECT_EQ(read(disk("/b.img")).then.at(0).source, "/b.img");
  EXPECT_EQ(read(disk("b.img"), "a.xml").then.at(0).source, "b.img");
  EXPECT_EQ(read(disk("nbd:c&amp;d&#10;")).then.at(0).source, "machines/nbd:c&d\n");
  EXPECT_EQ(read("<disk type='network'><source file='x' dev='y' name='z'/></disk>").then.at(0).source, "");
  EXPECT_EQ(read("<disk type='block'><source file='x' dev='/y'/></disk>").then.at(0).source, "/y");
}

TEST(LibvirtXml, refuses_what_passes_its_bounds) {
  std::string disks, layers, ends;
  for (int i = 0; i < 256; ++i) disks += disk("x");
  for (int i = 0; i < 1'000; ++i) {
    layers += "<backingStore type='file'><source file='y'/>";
    ends += "</backingStore>";
  }
  EXPECT_EQ(read(disks).then.size(), 256U);
  EXPECT_EQ(read(disks + disk("x")).kind, LibvirtFile::Kind::unreadable);
  EXPECT_EQ(read(disk("x", layers + "<backingStore/>" + ends)).then.at(0).backing.size(), 1'000U);
  EXPECT_EQ(read(disk("x", "<backingStore type='file'>" + layers + ends + "</backingStore>")).kind,
            LibvirtFile::Kind::unreadable);
  EXPECT_EQ(read(disk(std::string(4'096, 'x'), {})).kind, LibvirtFile::Kind::domain);
  EXPECT_EQ(read(disk(std::string(4'097, 'x'), {})).kind, LibvirtFile::Kind::unreadable);
}

TEST(LibvirtXml, takes_a_source_for_raw_as_soon_as_one_file_does) {
  Libvirt libvirt;
  libvirt.files.push_back(read(disk("x", "<driver type='qcow2'/>")));
  ASSERT_EQ(libvirt.sources().size(), 1U);
  EXPECT_FALSE(libvirt.sources()[0].raw);
  libvirt.files.push_back(read(disk("x")));
  ASSERT_EQ(libvirt.sources().size(), 1U);
  EXPECT_TRUE(libvirt.sources()[0].raw);
}

TEST(LibvirtXml, is_named_when_it_is_missing) {
  const auto missing =
      read_libvirt({"no/such.xml"}, [](const std::string& file) { return storage::open_file(file); });
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().message.find("no/such.xml: there is no such"), std::string::npos)
      << missing.error().message;
}

}  // namespace
}  // namespace cowvet::analyzer
